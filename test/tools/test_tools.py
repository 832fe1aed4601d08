# SPDX-License-Identifier: Apache-2.0
"""The scripts below tools/, without root and without building anything."""
import gzip
import io
import json
import pathlib
import subprocess
import tarfile

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
CONFIG = TOOLS / "lib/kernel_config.py"
AGENT = b"\x7fELF" + b"agent" * 100


def run(*command):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)


def cpio_members(image):
    """{name: (mode, uid, gid, mtime, data)} of a newc archive."""
    members, at = {}, 0
    while True:
        assert image[at:at + 6] == b"070701"
        field = [int(image[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        name = image[at + 110:at + 110 + field[11] - 1].decode()
        data_at = at + (110 + field[11] + 3) // 4 * 4
        if name == "TRAILER!!!":
            return members
        members[name] = (field[1], field[2], field[3], field[5], image[data_at:data_at + field[6]])
        at = data_at + (field[6] + 3) // 4 * 4


@pytest.fixture
def agent(tmp_path):
    path = tmp_path / "agent"
    path.write_bytes(AGENT)
    return path


def test_initrd_has_the_agent_and_the_mount_points(agent, tmp_path):
    assert run(TOOLS / "build-initrd", agent, tmp_path / "image").returncode == 0

    members = cpio_members((tmp_path / "image").read_bytes())

    assert members["init"] == (0o100755, 0, 0, 0, AGENT)
    assert set(members) == {"init", "dev", "proc", "sys", "run", "mnt", "tmp"}


def test_initrd_is_reproducible(agent, tmp_path):
    run(TOOLS / "build-initrd", agent, tmp_path / "one")
    agent.touch()
    run(TOOLS / "build-initrd", agent, tmp_path / "two")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_compressed_initrd_is_the_same_inside(agent, tmp_path):
    run(TOOLS / "build-initrd", agent, tmp_path / "plain")
    run(TOOLS / "build-initrd", "--gzip", agent, tmp_path / "small")

    assert gzip.decompress((tmp_path / "small").read_bytes()) == (tmp_path / "plain").read_bytes()


def test_initrd_refuses_what_is_not_a_program(tmp_path):
    text = tmp_path / "text"
    text.write_text("no program", encoding="utf-8")

    done = run(TOOLS / "build-initrd", text, tmp_path / "image")

    assert done.returncode != 0
    assert str(text) in done.stderr
    assert not (tmp_path / "image").exists()


def test_image_names_its_blobs_by_their_digest(tmp_path):
    assert run(TOOLS / "make-busybox-image", tmp_path / "image.tar", "--name", "localhost/x:1").returncode == 0

    with tarfile.open(tmp_path / "image.tar") as tar:
        index = json.load(tar.extractfile("index.json"))
        digest = index["manifests"][0]["digest"].split(":")[1]
        manifest = json.load(tar.extractfile(f"blobs/sha256/{digest}"))
        layer = tar.extractfile("blobs/sha256/" + manifest["layers"][0]["digest"].split(":")[1]).read()
    with tarfile.open(fileobj=io.BytesIO(layer)) as root:
        assert root.getmember("bin/sh").linkname == "busybox"
        assert root.getmember("bin/busybox").mode == 0o755


def test_timeline_shows_the_steps_of_a_start(tmp_path):
    log = tmp_path / "log"
    log.write_text('time="1970-01-01T00:00:05Z" level=info msg="timeline: too early" runtime=kata sandbox=ab\n'
                   'time="1970-01-01T00:00:11.250000000Z" level=info msg="timeline: domain created" runtime=kata sandbox=ab\n'
                   'time="1970-01-01T00:00:11.5Z" level=info msg="timeline: of another" runtime=kata sandbox=c\n'
                   'time="1970-01-01T00:00:12.000000000Z" level=info msg="something else"\n', encoding="utf-8")

    def rows(*options):
        return [line.split() for line in run(TOOLS / "timeline", log, *options).stdout.splitlines()][1:]

    client = ["the", "client", "has", "ended"]
    assert rows("--began", "10", "--ended", "13", "--sandbox", "a") == [["domain", "created", "1250", "1250"], [*client, "3000", "1750"]]
    assert rows("--sandbox", "ab") == [["too", "early", "0", "0"], ["domain", "created", "6250", "6250"]]
    nothing = run(TOOLS / "timeline", log, "--sandbox", "x")
    assert nothing.returncode == 1 and "no step" in nothing.stderr


def test_every_package_is_listed_once_per_group():
    for path in (TOOLS / "packages").glob("*.txt"):
        names = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        assert len(names) == len(set(names)), path


def test_unknown_package_group_is_named():
    done = run(TOOLS / "install-packages", "no-such-group")

    assert done.returncode != 0
    assert "no-such-group" in done.stderr


def test_kernel_key_changes_nothing_and_is_stable():
    first = run(TOOLS / "build-kernel", "--key")

    assert first.returncode == 0, first.stderr
    assert first.stdout == run(TOOLS / "build-kernel", "--key").stdout
    assert len(first.stdout.strip()) == 64


def test_prefix_that_the_machines_user_cannot_reach_is_refused_at_once(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    done = run(TOOLS / "build", "--prefix", closed / "kata")

    assert done.returncode == 1
    # The directories of pytest above it are closed as well: the first one on the way is named.
    assert "cannot be reached by QEMU's user" in done.stderr and "chmod o+x" in done.stderr


def test_kernel_key_covers_the_users_fragments(tmp_path):
    keys = set()
    for line in ("CONFIG_KSM=n", "CONFIG_KSM=y", "CONFIG_NR_CPUS=8"):
        (tmp_path / "own.config").write_text(line + "\n", encoding="utf-8")
        done = run(TOOLS / "build-kernel", "--fragment", tmp_path / "own.config", "--key")
        assert done.returncode == 0, done.stderr
        keys.add(done.stdout)

    assert len(keys) == 3
    assert run(TOOLS / "build-kernel", "--key").stdout in keys  # KSM=y is what the fragments say already


@pytest.mark.parametrize("arguments", [(), ("--key", "out"), ("--fragment",), ("--no-such-option", "out"),
                                       ("--source", "../x", "--key")])
def test_kernel_builder_refuses_wrong_arguments(arguments):
    assert run(TOOLS / "build-kernel", *arguments).returncode != 0


def test_kernel_fragment_that_is_not_there_is_named(tmp_path):
    done = run(TOOLS / "build-kernel", "--fragment", tmp_path / "none.config", "--key")

    assert done.returncode != 0
    assert str(tmp_path / "none.config") in done.stderr


@pytest.mark.parametrize("text, complaint", [
    ("CONFIG_A=m", "CONFIG_A=m"), ("CONFIG_A=maybe", "CONFIG_A=maybe"), ("A=y", "A=y"), ("CONFIG_A", "CONFIG_A"),
    ('CONFIG_A="x', 'CONFIG_A="x'), ("CONFIG_A=y\nCONFIG_A=n", "CONFIG_A stands there twice")])
def test_kernel_fragment_with_a_bad_line_is_refused(tmp_path, text, complaint):
    fragment = tmp_path / "own.config"
    fragment.write_text(f"# comment\n{text}\n", encoding="utf-8")

    done = run(CONFIG, "merge", fragment)

    assert done.returncode != 0
    assert complaint in done.stderr
    assert f"{fragment}:{2 + text.count(chr(10))}:" in done.stderr


def test_later_kernel_fragment_wins(tmp_path):
    (tmp_path / "one").write_text('CONFIG_A=y\nCONFIG_B="x y"\nCONFIG_C=n\n', encoding="utf-8")
    (tmp_path / "two").write_text("# CONFIG_A is not set\nCONFIG_C=-7\n", encoding="utf-8")

    done = run(CONFIG, "merge", tmp_path / "one", tmp_path / "two")

    assert done.stdout.splitlines() == ["CONFIG_A=n", 'CONFIG_B="x y"', "CONFIG_C=-7"]


@pytest.fixture
def configured_tree(tmp_path):
    """What a kernel's source is after its configuration."""
    tree = tmp_path / "tree"
    (tree / "net").mkdir(parents=True)
    (tree / "Kconfig").write_text("config YES\n\tbool\nconfig NO\n\tbool\nconfig COUNT\n\tint\n", encoding="utf-8")
    (tree / "net/Kconfig").write_text("menuconfig TEXT\n\tstring\nconfig HIDDEN\n\tbool\n", encoding="utf-8")
    (tree / ".config").write_text('CONFIG_YES=y\n# CONFIG_NO is not set\nCONFIG_COUNT=64\nCONFIG_TEXT="a b"\n', encoding="utf-8")
    return tree


@pytest.mark.parametrize("option, complaint", [
    ("CONFIG_YES=y", ""), ("CONFIG_NO=n", ""), ("CONFIG_HIDDEN=n", ""), ("CONFIG_COUNT=64", ""), ('CONFIG_TEXT="a b"', ""),
    ("CONFIG_YES=n", "CONFIG_YES=n of own.config: the kernel took y"),
    ("CONFIG_NO=y", "CONFIG_NO=y of own.config: the kernel took n"),
    ("CONFIG_HIDDEN=y", "CONFIG_HIDDEN=y of own.config: the kernel took n"),
    ("CONFIG_COUNT=8", "CONFIG_COUNT=8 of own.config: the kernel took 64"),
    ('CONFIG_TEXT="a"', 'CONFIG_TEXT="a" of own.config: the kernel took "a b"'),
    ("CONFIG_NONE=y", "CONFIG_NONE=y of own.config: this kernel has no such option"),
    ("CONFIG_NONE=n", "CONFIG_NONE=n of own.config: this kernel has no such option")])
def test_kernel_option_that_was_not_taken_is_named(tmp_path, configured_tree, option, complaint):
    (tmp_path / "own.config").write_text(option + "\n", encoding="utf-8")

    done = run(CONFIG, "check", configured_tree, tmp_path / "own.config")

    assert done.returncode == (1 if complaint else 0)
    assert complaint in done.stderr


def test_kernel_topics_are_the_fragments_that_there_are():
    directory = TOOLS.parent / "configs/kernel"
    listed = {line for line in (directory / "topics.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")}

    assert listed == {path.stem for path in directory.glob("*.config") if not path.stem.startswith(("6.", "x86_64"))}


def test_optional_kernel_fragments_and_topics_are_documented():
    document = (TOOLS.parent / "docs/guest-kernel.md").read_text(encoding="utf-8")

    for path in (TOOLS.parent / "configs/kernel").rglob("*.config"):
        assert f"`{path.stem}`" in document or f"optional/{path.name}`" in document, path
