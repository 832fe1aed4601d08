# SPDX-License-Identifier: Apache-2.0
"""What programs may expect of files: the POSIX suite (test/posix) under runc and here, line by line.

A line that differs must stand in the table of docs/limitations.md, section "Files", whose first column names the cases
(fnmatch patterns), and each pattern there must still differ: the document and the truth cannot part.
"""
import contextlib
import fnmatch
import os
import pathlib
import re
import resource
import shutil
import subprocess

import pytest

import harness
from block_volume import block_volume
from test_disks import loop_device

RUNC = "io.containerd.runc.v2"
# Debian 13's virtiofsd (test/run virtiofsd), for which the table has rows of its own, and not all others hold.
IS_RUST = os.environ.get("KATA_TEST_VIRTIOFSD") == "rust"
DESCRIPTORS_OF_OTHERS = 500  # what virtiofsd has open for the image and for itself
LIMITATIONS, STORAGE = (harness.REPOSITORY / "docs" / name for name in ("limitations.md", "storage.md"))


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


def documented_rows(document, title):
    """The cells of each row of a section's table whose first one names cases."""
    text = document.read_text(encoding="utf-8")
    section = re.search(rf"^##+ {re.escape(title)}$(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"{document}: no section \"{title}\""
    lines = [line for line in section.group(1).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]


def documented_patterns():
    """The case names of the table in the section "Files"."""
    rows = [row[0] for row in documented_rows(LIMITATIONS, "Files") if IS_RUST or "(Rust)" not in row[0]]
    return [pattern for row in rows for pattern in re.findall(r"`([^`]+)`", row)]


def lines_of(kata, runtime, probe, directory, flags=(), topics=""):
    identity = kata.new_id("posix")
    script = f"mkdir -p {directory} && exec /posix_probe {directory} {topics}"
    result = kata.ctr("run", "--rm", "--runtime", runtime, "--fifo-dir", kata.directory / "fifo",
                      "--mount", f"type=bind,src={probe},dst=/posix_probe,options=bind:ro", *flags,
                      harness.IMAGE, identity, "sh", "-c", script, timeout=600)
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


@contextlib.contextmanager
def on_memory(kata, name):
    path = kata.directory / f"pods/{name}/volumes/kubernetes.io~empty-dir/cache"
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=777", "tmpfs", path], check=True)
    try:
        yield ("--mount", f"type=bind,src={path},dst=/v,options=rbind:rw")
    finally:
        subprocess.run(["umount", path], check=True)
        shutil.rmtree(kata.directory / "pods")


@contextlib.contextmanager
def on_a_block(kata, name):
    """A disk of the machine; under runc the host has it mounted."""
    if name == "here":
        with block_volume(kata.directory, "256m") as path:
            yield ("--mount", f"type=bind,src={path},dst=/v,options=rbind:rw")
        return
    with loop_device(kata.directory, "256m") as device:
        path = kata.directory / "mounted"
        path.mkdir()
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        subprocess.run(["mount", device, path], check=True)
        try:
            yield ("--mount", f"type=bind,src={path},dst=/v,options=rbind:rw")
        finally:
            subprocess.run(["umount", path], check=True)
            path.rmdir()


@contextlib.contextmanager
def on_the_disk_of_a_container(kata, name):
    scratch = kata.directory / "scratch"
    text = f'[hypervisor.qemu]\nrootfs_writes = "disk"\nrootfs_disk_path = "{scratch}"\n'
    yield kata.configured("scratch", text) if name == "here" else ()
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.mark.parametrize("place, flags_of, directory", [
    ("memory", on_memory, "/v"), ("block", on_a_block, "/v"), ("disk", on_the_disk_of_a_container, "/posix")])
def test_differences_of_the_guests_own_file_systems(kata, probe, place, flags_of, directory):
    """Where the guest's kernel has the file system itself: the table of docs/storage.md has the cases that differ from runc."""
    patterns = [pattern for row in documented_rows(STORAGE, "Cases that differ") if place in row[1].split(", ")
                for pattern in re.findall(r"`([^`]+)`", row[0])]
    assert patterns or place == "block"
    found = {}
    for name, runtime in (("runc", RUNC), ("here", harness.RUNTIME)):
        with flags_of(kata, name) as flags:
            found[name] = lines_of(kata, runtime, probe, directory, (*flags, "--cap-add", "CAP_SYS_ADMIN"))
    assert len(found["runc"]) > 600 and list(found["runc"]) == list(found["here"])
    surprising = [f"{case}\n  runc: {runc}\n  here: {found['here'][case]}" for case, runc in found["runc"].items()
                  if runc != found["here"][case] and not any(fnmatch.fnmatch(case, pattern) for pattern in patterns)]
    assert not surprising, f"not in {STORAGE}:\n" + "\n".join(surprising)


@contextlib.contextmanager
def on_nothing(kata, name):
    del kata, name
    yield ()


@contextlib.contextmanager
def on_a_volume(kata, name):
    del name
    path = kata.directory / "many"
    path.mkdir()
    yield ("--mount", f"type=bind,src={path},dst=/v,options=rbind:rw")
    shutil.rmtree(path)


@pytest.mark.parametrize("runtime, flags_of, directory", [
    (RUNC, on_nothing, "/posix"), (harness.RUNTIME, on_a_volume, "/v"),
    (harness.RUNTIME, on_memory, "/v"), (harness.RUNTIME, on_a_block, "/v"),
    (harness.RUNTIME, on_the_disk_of_a_container, "/posix"),
], ids=["runc", "volume", "memory", "block", "disk"])
def test_many_files(kata, probe, runtime, flags_of, directory):
    """10,000 in a directory and open at once, or what the host lets a daemon have open: on a share each takes two there."""
    files = min(10_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - DESCRIPTORS_OF_OTHERS) // 2 // 500 * 500)
    with flags_of(kata, "here") as flags:
        lines = lines_of(kata, runtime, probe, directory, (*flags, "--env", f"POSIX_FILES={files}"), "many")
    assert lines == {"many.watched": "create modify closed attrib from to delete ", "many.entries": str(files),
                     "many.open": str(files), "many.contents": f"{files} ok", "end": "ok"}


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
