# SPDX-License-Identifier: Apache-2.0
"""What programs may expect of files: the POSIX suite (test/posix) under runc and here, line by line.

A line that differs must stand in the table of docs/limitations.md, section "Files", whose first column names the cases
(fnmatch patterns), and each pattern there must still differ: the document and the truth cannot part.
"""
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import harness

RUNC = "io.containerd.runc.v2"
# Debian 13's virtiofsd (test/run virtiofsd), for which the table has rows of its own, and not all others hold.
IS_RUST = os.environ.get("KATA_TEST_VIRTIOFSD") == "rust"
LIMITATIONS = harness.REPOSITORY / "docs/limitations.md"


@pytest.fixture(scope="module")
def probe():
    path = pathlib.Path(os.environ.get("KATA_POSIX_PROBE", harness.REPOSITORY / "build/ci/test/posix/posix_probe"))
    assert path.exists(), f"no {path}; build the target posix_probe"
    return path


@pytest.fixture
def volume(kata):
    """Gives fresh host directories for volumes."""
    made = []

    def make():
        made.append(kata.directory / f"volume-{len(made)}")
        made[-1].mkdir()
        made[-1].chmod(0o777)
        return made[-1]

    yield make
    for path in made:
        shutil.rmtree(path)


def documented_patterns():
    """The case names of the table in the section "Files"."""
    text = LIMITATIONS.read_text(encoding="utf-8")
    section = re.search(r"^## Files$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"{LIMITATIONS}: no section \"Files\""
    rows = [line.split("|")[1] for line in section.group(1).splitlines() if line.startswith("| `")]
    rows = [row for row in rows if IS_RUST or "(Rust)" not in row]
    return [pattern for row in rows for pattern in re.findall(r"`([^`]+)`", row)]


def lines_of(kata, runtime, probe, directory, flags=()):
    identity = kata.new_id("posix")
    result = kata.ctr("run", "--rm", "--runtime", runtime, "--fifo-dir", kata.directory / "fifo",
                      "--mount", f"type=bind,src={probe},dst=/posix_probe,options=bind:ro", *flags,
                      harness.IMAGE, identity, "sh", "-c", f"mkdir -p {directory} && exec /posix_probe {directory}", timeout=600)
    assert result.code == 0, f"{runtime}: {result.err}\n{result.out.decode()[-500:]}"
    lines = result.out.decode().splitlines()
    assert lines[-1] == "end ok", lines[-3:]
    return dict(line.split(" ", 1) for line in lines)


def differences(kata, probe, flags_of, directory):
    """{case: (under runc, here)}"""
    runc, here = (lines_of(kata, runtime, probe, directory, flags_of()) for runtime in (RUNC, harness.RUNTIME))
    assert list(runc) == list(here), sorted(set(runc) ^ set(here))
    assert len(runc) > 600, len(runc)
    return {case: (runc[case], here[case]) for case in runc if runc[case] != here[case]}


def test_differences_from_runc_are_the_documented_ones(kata, probe, volume):
    def on_volume():
        return ("--mount", f"type=bind,src={volume()},dst=/v,options=rbind:rw")

    places = {"rootfs": (tuple, "/posix"), "volume": (on_volume, "/v"),
              "volume, CAP_SYS_ADMIN": (lambda: (*on_volume(), "--cap-add", "CAP_SYS_ADMIN"), "/v")}
    patterns = documented_patterns()
    seen, surprising = set(), []
    for place, (flags_of, directory) in places.items():
        for case, (runc, here) in differences(kata, probe, flags_of, directory).items():
            matches = {pattern for pattern in patterns if fnmatch.fnmatch(case, pattern)}
            seen |= matches
            if not matches:
                surprising.append(f"{case} ({place})\n  runc: {runc}\n  here: {here}")
    assert not surprising, f"not in {LIMITATIONS}:\n" + "\n".join(surprising)
    assert IS_RUST or seen == set(patterns), f"in {LIMITATIONS}, but no difference any more: {set(patterns) - seen}"


def test_default_capabilities_of_a_caller_do_not_grow(kata, volume):
    """virtiofsd keeps its capabilities over the change of user; what a caller may do is the guest kernel's decision."""
    directory = volume()
    (directory / "private").mkdir(mode=0o700)
    (directory / "private/secret").write_text("secret\n", encoding="utf-8")
    script = ("for c in 'cat /v/private/secret' 'touch /v/private/new' 'mkdir /v/private/d' 'ln -s x /v/private/l' "
              "'mknod /v/private/p p' 'mknod /v/dev c 1 3' 'chown 0:0 /v/own' 'chmod 777 /v/private'; do "
              "$c >/dev/null 2>&1 && echo \"$c worked\"; done; touch /v/own && ls -n /v/own | cut -c1-10; id -u")
    spec = kata.default_spec("sh", "-c", script, flags=("--mount", f"type=bind,src={directory},dst=/v,options=rbind:rw"))
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    result = kata.run_config(spec)

    assert result.out == b"-rw-r--r--\n1000\n", result
    assert (directory / "own").stat().st_uid == 1000


def test_locks_of_two_pods_on_one_volume_are_apart(kata, probe, volume):
    """As docs/limitations.md says: virtiofsd can only wait for a lock with its one thread, so locks stay in the guest."""
    directory = volume()
    flags = ("--mount", f"type=bind,src={directory},dst=/v,options=rbind:rw",
             "--mount", f"type=bind,src={probe},dst=/posix_probe,options=bind:ro")
    with kata.container("sh", "-c", "/posix_probe --hold /v/file >/v/held", flags=flags) as first:
        harness.wait_for(lambda: harness.read(directory / "held"), "the first pod's lock")
        inside = kata.exec(first, "/posix_probe", "--lock", "/v/file").out
        other = kata.run("/posix_probe", "--lock", "/v/file", flags=flags).out
        host = subprocess.run([probe, "--lock", directory / "file"], stdout=subprocess.PIPE, check=True).stdout

    assert harness.read(directory / "held") == "flock=ok fcntl=ok\n"
    assert inside == b"flock=EAGAIN fcntl=EAGAIN\n"  # in one guest they hold
    assert (other, host) == (b"flock=ok fcntl=ok\n",) * 2
