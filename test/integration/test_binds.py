# SPDX-License-Identifier: Apache-2.0
"""Bind mounts, case by case under runc and here: what a container sees of them, at which place, and who may write."""
import contextlib
import copy
import json
import os
import shutil
import stat
import subprocess

import pytest

from block_volume import block_volume

RUNC = "io.containerd.runc.v2"
WORDS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")


def run(*words):
    subprocess.run(words, check=True)


def entry(source, destination, *options):
    return {"type": "bind", "source": str(source), "destination": destination, "options": list(options or ("rbind", "rw"))}


class Both:
    """The two runtimes, with directories of the host and an own root for each."""

    def __init__(self, kata):
        self.kata, self.runc = kata, copy.copy(kata)
        self.runc.runtime = RUNC
        self.directory = kata.directory / "binds"
        self.directory.mkdir()

    def tree(self, name, *files):
        """A directory with files that have their own paths as text."""
        top = self.directory / name
        for file in files or ("file",):
            (top / file).parent.mkdir(parents=True, exist_ok=True)
            (top / file).write_text(f"{name}/{file}\n", encoding="utf-8")
        return top

    def lines(self, engine, mounts, script, prepare=None, capabilities=()):
        """What a container with these mounts prints, (1, error) when it is refused."""
        spec = engine.default_spec("sh", "-c", script)
        root = self.directory / "root"
        shutil.copytree(engine.unpacked_rootfs(), root, symlinks=True)
        if prepare:
            prepare(root)
        spec["root"]["path"] = str(root)
        spec["mounts"] += mounts
        for kind in ("bounding", "effective", "permitted"):
            spec["process"]["capabilities"][kind] += capabilities
        try:
            result = engine.run_config(spec)
        finally:
            shutil.rmtree(root)
        return result.out.decode().splitlines() if result.code == 0 else (result.code, result.err)

    def same(self, mounts, script, prepare=None, **more):
        """What both print, which must be the same."""
        runc = self.lines(self.runc, mounts, script, prepare, **more)
        here = self.lines(self.kata, mounts, script, prepare, **more)
        assert here == runc, f"under runc {runc}, here {here}"
        return here


@pytest.fixture
def both(kata):
    made = Both(kata)
    yield made
    shutil.rmtree(made.directory)


@contextlib.contextmanager
def mounted(path, *words):
    """A mount of the host, which other mount namespaces may hear of."""
    path.mkdir(parents=True, exist_ok=True)
    run("mount", *words, str(path))
    try:
        yield path
    finally:
        run("umount", "--lazy", "-R", str(path))  # a guest may remember a file of it for a while


def test_nested_and_overlapping(both):
    outer, inner = both.tree("outer", "file", "sub/file"), both.tree("inner", "file", "deep/file")
    other = both.tree("other")
    script = "cat /m/file /m/sub/file /m/sub/deep/file 2>&1; ls /m /m/sub"

    assert both.same([entry(outer, "/m"), entry(inner, "/m/sub"), entry(other / "file", "/m/sub/deep/file")], script) == [
        "outer/file", "inner/file", "other/file", "/m:", "file", "sub", "", "/m/sub:", "deep", "file"]
    # The later one is on top: of what is below, and of what has the same place.
    assert both.same([entry(inner, "/m/sub"), entry(outer, "/m")], "cat /m/sub/file") == ["outer/sub/file"]
    assert both.same([entry(inner, "/m"), entry(outer, "/m")], "cat /m/file") == ["outer/file"]
    # One directory at several places, and a part of it elsewhere.
    script = "echo new >/m/sub/made; cat /n/sub/made /m/sub/again/made; (echo x >/n/file) 2>/dev/null || echo ro"
    mounts = [entry(outer, "/m"), entry(outer, "/n", "rbind", "ro"), entry(outer / "sub", "/m/sub/again")]
    assert both.same(mounts, script) == ["new", "new", "ro"]


def test_a_read_only_mount_in_one_that_is_written(both):
    outer, inner = both.tree("outer", "file", "sub/file"), both.tree("inner")
    script = "for i in /m /m/sub; do (echo x >$i/new) 2>/dev/null && echo $i; done; true"
    assert both.same([entry(outer, "/m"), entry(inner, "/m/sub", "rbind", "ro")], script) == ["/m"]
    assert both.same([entry(outer, "/m", "rbind", "ro"), entry(inner, "/m/sub")], script) == ["/m/sub"]


@pytest.mark.parametrize("target, link", [
    ("absolute", "/real"), ("relative", "../real"), ("out", "../../../../../../real"), ("chain", "/at/absolute"),
    ("below/more", "/real")])
def test_on_a_link_of_the_image(both, target, link):
    """Resolved within the container's root, wherever it leads."""
    def prepare(root):
        (root / "real").mkdir()
        (root / "at").mkdir()
        (root / "at/absolute").symlink_to("/real")
        if target != "absolute":
            (root / "at" / target.split("/")[0]).symlink_to(link)
    source = both.tree("volume")
    where = "/real/more" if "/" in target else "/real"

    script = f"cat {where}/file; grep -c ' {where} ' /proc/mounts"
    assert both.same([entry(source, f"/at/{target}")], script, prepare) == ["volume/file", "1"]
    assert not os.path.lexists("/real")


def test_on_files_and_on_nothing(both):
    def prepare(root):
        (root / "etc/old").write_text("image\n", encoding="utf-8")
        (root / "etc/link").symlink_to("/etc/old")
        (root / "etc/dangling").symlink_to("/made/here")
    file = both.tree("volume") / "file"

    script = "cat /etc/old; cat /etc/link; stat -c '%F' /etc/link"
    assert both.same([entry(file, "/etc/old")], script, prepare) == ["volume/file", "volume/file", "symbolic link"]
    assert both.same([entry(file, "/etc/link")], script, prepare) == ["volume/file", "volume/file", "symbolic link"]
    script = "cat /a/b/c/file /a/d/e/file; stat -c '%a %u' /a /a/b/c /a/d"
    assert both.same([entry(file, "/a/b/c/file"), entry(file.parent, "/a/d/e")], script, prepare) == [
        "volume/file", "volume/file", "755 0", "755 0", "755 0"]
    assert both.same([entry(file.parent, "/etc/dangling")], "cat /made/here/file", prepare) == ["volume/file"]


@pytest.mark.parametrize("word", WORDS)
def test_propagation(both, word):
    """What the host mounts below a volume later, and what the container mounts there."""
    source = both.tree("volume")
    with mounted(source, "--bind", str(source)):
        run("mount", "--make-shared", str(source))
        seen = {}
        for name, engine in (("runc", both.runc), ("here", both.kata)):
            spec = engine.default_spec("sh", "-c", "sleep 1000")
            spec["root"]["path"] = str(engine.unpacked_rootfs())
            spec["mounts"].append(entry(source, "/m", "rbind", "rw", word))
            if "shared" in word:  # as containerd does for a Bidirectional mount
                spec["linux"]["rootfsPropagation"] = "rshared"
            for kind in ("bounding", "effective", "permitted"):
                spec["process"]["capabilities"][kind].append("CAP_SYS_ADMIN")
            identity = engine.new_id()
            (both.directory / "config.json").write_text(json.dumps(spec), encoding="utf-8")
            started = engine.ctr("run", "--detach", "--null-io", "--runtime", engine.runtime, "--config",
                                 both.directory / "config.json", identity)
            assert started.code == 0, started.err
            try:
                with mounted(source / "later", "-t", "tmpfs", "none"):
                    (source / "later/file").touch()
                    of_host = engine.exec(identity, "ls", "/m/later").out.decode().split()
                made = engine.exec(identity, "sh", "-c", "mkdir -p /m/own; mount -t tmpfs none /m/own && touch /m/own/file")
                assert made.code == 0, made.err
                of_container = os.listdir(source / "own")
                engine.exec(identity, "umount", "/m/own")
            finally:
                engine.remove(identity)
            seen[name] = (of_host, of_container)
    assert seen["here"][0] == seen["runc"][0] == (["file"] if "slave" in word or "shared" in word else [])
    assert seen["runc"][1] == (["file"] if "shared" in word else [])
    assert seen["here"][1] == []  # docs/limitations.md


def test_devices_and_fifos_as_sources(both):
    """A device node is the device of that number, wherever on the host it lies; one of no device is opened by nobody."""
    top = both.tree("nodes")
    for name, number in (("null", os.makedev(1, 3)), ("none", os.makedev(242, 7))):
        os.mknod(top / name, stat.S_IFCHR | 0o666, number)
    os.mkfifo(top / "fifo")
    assert both.same([entry("/dev/zero", "/z", "bind", "rw")], "head -c 2 /z | od -An -tx1; stat -c '%F' /z") == [
        " 00 00", "character special file"]
    assert both.same([entry(top / "null", "/n", "bind", "rw")], "echo x >/n; stat -c '%F %t %T' /n; wc -c </n") == [
        "character special file 1 3", "0"]
    # Where it is in a directory that is shared, too.
    script = "(cat /m/none) 2>&1; stat -c '%F %t %T' /m/none; echo x | cat - >/m/fifo & cat /m/fifo"
    assert both.same([entry(top, "/m")], script)[1:] == ["character special file f2 7", "x"]
    assert both.same([entry(top / "fifo", "/f", "bind", "rw")], "stat -c %F /f; (echo x >/f) & cat /f") == ["fifo", "x"]


KINDS = ("directory", "tmpfs", "memory", "block")


@contextlib.contextmanager
def volume_of(both, kind):
    """A volume of the kind, with a file; of "block" and "memory" the host has none."""
    if kind == "block":
        with block_volume(both.directory) as path:
            yield path
    elif kind == "directory":
        yield both.tree("volume")
    else:
        path = both.directory / ("pods/x/volumes/kubernetes.io~empty-dir/m" if kind == "memory" else "volume")
        with mounted(path, "-t", "tmpfs", "-o", "size=4m", "none"):
            if kind == "tmpfs":
                both.tree("volume")
            yield path


@pytest.mark.parametrize("kind", KINDS)
def test_options_of_each_kind(both, kind):
    """Read-only or not, once or twice in a container, with the words that mount(2) has."""
    attributes = "awk '$2 == \"/no\" {print $4}' /proc/mounts | tr ',' '\\n' | " \
        "grep -xE 'ro|rw|nosuid|nodev|noexec|noatime' | sort | tr '\\n' ' '; echo"
    script = "(echo x >/rw/new) 2>/dev/null && echo rw; (echo x >/ro/new) 2>/dev/null || echo ro; cat /ro/new; " \
        "cp /bin/busybox /rw/true; /no/true 2>/dev/null || echo $?; /rw/true && echo runs; rm /rw/true /rw/new; " + attributes
    with volume_of(both, kind) as source:
        mounts = [entry(source, "/rw"), entry(source, "/ro", "rbind", "ro"),
                  entry(source, "/no", "bind", "noexec", "nosuid", "nodev", "noatime")]
        if kind == "block":
            seen = both.lines(both.kata, mounts, script)
        else:
            seen = both.same(mounts, script)
    assert seen == ["rw", "ro", "x", "126", "runs", "noatime nodev noexec nosuid rw "]
