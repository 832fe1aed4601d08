# SPDX-License-Identifier: Apache-2.0
"""Images whose layers are each an erofs on the host, as containerd 2's erofs snapshotter has them: the machine gets them as
disks and puts them together itself.
"""
import contextlib
import os
import re
import shutil
import subprocess

import pytest

import harness
from changed_installation import edit, installation
from test_disks import KIND, run
from test_neighbours import annotations
from test_rootfs_mounts import Lists, lists, mount  # pylint: disable=unused-import

EROFS = ("--snapshotter", "erofs")
# virtiofsd, which says each request.
DAEMON = """#!/bin/bash
words=()
for word; do words+=("${{word/log_level=warn/log_level=debug}}"); done
[[ $* != *--fd=* ]] || exec 2>>"{log}"
exec "{program}" "${{words[@]}}"
"""


class Layers:
    """Directories of the host with an erofs each, the topmost first."""

    def __init__(self, lists):
        self.lists, self.places = lists, []

    def add(self, fill):
        tree = self.lists.directory / f"tree-{len(self.places)}"
        fill(tree)
        place, image = tree.with_suffix(".mounted"), tree.with_suffix(".erofs")
        run("mkfs.erofs", "--quiet", str(image), str(tree))
        place.mkdir()
        run("mount", "-t", "erofs", "-o", "ro,loop", str(image), str(place))
        self.places.insert(0, place)
        return image

    def remove(self):
        for place in self.places:
            run("umount", str(place))


@pytest.fixture
def layers(lists):
    lists.directory.mkdir(exist_ok=True)
    made = Layers(lists)
    made.add(lambda tree: shutil.copytree(lists.base, tree, symlinks=True))
    yield made
    made.remove()


def second(tree):
    """Changes the first layer: a file is new, one is gone, a directory has nothing of the one below."""
    for name in ("etc/over", "bin"):
        (tree / name).mkdir(parents=True)
    (tree / "etc/new").write_text("from the second\n", encoding="utf-8")
    os.mknod(tree / "bin/sort", 0o600 | 0o020000, 0)


def test_layers_are_put_together_by_the_guest(lists, layers):
    layers.add(second)
    script = f"{KIND}; grep -c erofs /proc/filesystems; cat /etc/new; ls /bin/sort 2>&1; stat -c %a /; " \
        "echo changed >/etc/new; cat /etc/new; df -P / | tail -n 1 | awk '{print ($2 > 1000000)}'"
    status, out = lists.run([lists.overlay(layers.places)], "sh", "-c", script)
    assert (status, out.splitlines()) == (0, ["overlay overlay", "1", "from the second",
                                              "ls: /bin/sort: No such file or directory", "755", "changed", "1"])
    # What it has written is on a disk of its own.
    assert not list((lists.directory / "upper/fs").iterdir())


def test_what_was_written_before_is_there(lists, layers):
    """Of an earlier run, say: the disks of the image do not have it."""
    overlay = lists.overlay(layers.places)
    (lists.directory / "upper/fs/kept").write_text("kept\n", encoding="utf-8")
    assert lists.run([overlay], "sh", "-c", f"cat /kept; {KIND}") == (0, "kept\nkataShared virtiofs\n")


def test_an_image_that_the_guest_cannot_mount_is_the_hosts(lists, layers):
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 4):
        pytest.skip("this host can mount none that the guest cannot")
    image = layers.add(second)
    run("umount", str(layers.places[0]))
    # A feature of Linux 6.4, prefixes of attributes' names, of which it has none.
    with open(image, "r+b") as file:
        file.seek(1024 + 80)
        features = int.from_bytes(file.read(4), "little")
        file.seek(1024 + 80)
        file.write((features | 0x40).to_bytes(4, "little"))
        file.seek(1024 + 4)
        file.write(bytes(4))  # the checksum,
        file.seek(1024 + 8)
        compatible = int.from_bytes(file.read(4), "little")
        file.seek(1024 + 8)
        file.write((compatible & ~1).to_bytes(4, "little"))  # which is said not to be there
    run("mount", "-t", "erofs", "-o", "ro,loop", str(image), str(layers.places[0]))
    status, out = lists.run([lists.overlay(layers.places)], "sh", "-c", f"{KIND}; cat /etc/new")
    assert (status, out) == (0, "kataShared virtiofs\nfrom the second\n")


def test_as_many_layers_as_there_may_be(lists, layers):
    for number in range(1, 64):
        def fill(tree, number=number):
            (tree / "layers" / str(number)).mkdir(parents=True)
            (tree / "top").write_text(f"{number}\n", encoding="utf-8")
        layers.add(fill)
    script = f"{KIND}; ls /layers | wc -l; cat /top; echo new >/top; cat /top"
    status, out = lists.run([lists.overlay(layers.places)], "sh", "-c", script)
    assert (status, out.splitlines()) == (0, ["overlay overlay", "63", "63", "new"])

    layers.add(lambda tree: tree.mkdir())
    status, out = lists.run([lists.overlay(layers.places)], "sh", "-c", f"{KIND}; ls /layers | wc -l")
    assert (status, out.splitlines()) == (0, ["kataShared virtiofs", "63"])


def changed(lists, change, *command, layers):
    with installation(lists.kata, change) as other:
        made = Lists(other)
        made.directory.mkdir(exist_ok=True)
        try:
            return made.run([made.overlay(layers.places)], *command)
        finally:
            shutil.rmtree(made.directory)


@pytest.mark.parametrize("pattern, replacement", [
    (r"^rootfs_writes = .*$", 'rootfs_writes = "share"'),
    (r"^disable_block_device_use = .*$", "disable_block_device_use = true")])
def test_by_the_host_where_the_operator_wants_it(lists, layers, pattern, replacement):
    assert changed(lists, edit(pattern, replacement), "sh", "-c", KIND, layers=layers) == (0, "kataShared virtiofs\n")


def test_by_the_host_where_there_is_no_room_for_a_disk(lists, layers):
    """The directory for such disks is on a file system without files that have no name."""
    place = lists.directory / "scratch"
    place.mkdir()
    change = edit(r"^rootfs_disk_path = .*$", 'rootfs_disk_path = "/proc/self"')
    assert changed(lists, change, "sh", "-c", KIND, layers=layers) == (0, "kataShared virtiofs\n")


# --- with containerd's own snapshotter ---


@pytest.fixture
def erofs(kata):
    plugins = kata.ctr("plugins", "ls").out.decode()
    if not re.search(r"^io\.containerd\.snapshotter\.v1\s+erofs\s+\S+\s+ok\s*$", plugins, re.M):
        pytest.skip("this containerd has no erofs snapshotter")
    archive = kata.directory / "busybox.tar"
    run(str(harness.REPOSITORY / "tools/make-busybox-image"), str(archive), "--name", kata.image, "--command", "/bin/sh")
    result = kata.ctr("image", "import", "--local", *EROFS, archive)
    assert result.code == 0, result.err
    archive.unlink()
    before = set(layer_mounts(kata))
    yield kata
    # Mounts of the layers are containerd's, and stay with their snapshots.
    for key in kata.ctr("snapshots", *EROFS, "ls").out.decode().split("\n")[1:]:
        if key:
            kata.ctr("snapshots", *EROFS, "rm", key.split()[0])
    for place in set(layer_mounts(kata)) - before:
        subprocess.run(["umount", place], check=False)


def layer_mounts(kata):
    lines = (line.split() for line in harness.read("/proc/self/mountinfo").splitlines())
    return [words[4] for words in lines if kata.token in words[4] and "snapshotter.v1.erofs" in words[4]]


def upper_directories(kata):
    return [path for path in kata.directory.glob("root/io.containerd.snapshotter.v1.erofs/snapshots/*/fs")
            if str(path) not in layer_mounts(kata)]


def test_containerds_erofs_snapshotter(erofs):
    with erofs.container("sleep", "1000", flags=EROFS) as identity:
        result = erofs.exec(identity, "sh", "-c", f"{KIND}; echo x >/etc/written; cat /etc/written; rm /bin/sort; ls /bin/sort 2>&1")
        assert result.out.decode().splitlines() == ["overlay overlay", "x", "ls: /bin/sort: No such file or directory"]
        assert [list(path.iterdir()) for path in upper_directories(erofs)] == [[]]
        assert not list(erofs.bundle(identity).glob("rootfs/*"))
        # Another pod reads the same images.
        assert erofs.run("sh", "-c", f"{KIND}; cat /etc/written", flags=EROFS).out == b"overlay overlay\n"
        assert erofs.exec(identity, "cat", "/etc/written").out == b"x\n"


def test_a_root_that_is_only_read_has_its_mount_points(erofs):
    """Those that the image lacks are made, as the kubelet's are."""
    volume = erofs.directory / "volume"
    volume.mkdir()
    flags = (*EROFS, "--read-only", "--mount", f"type=bind,src={volume},dst=/not/in/the/image,options=rbind:rw")
    script = f"{KIND}; echo x 2>/dev/null >/written; echo $?; echo x >/not/in/the/image/file; ls /not/in/the/image"
    result = erofs.run("sh", "-c", script, flags=flags)
    assert result.out.decode().splitlines() == ["overlay overlay", "1", "file"], result
    shutil.rmtree(volume)


def test_files_of_the_image_are_read_without_the_host(erofs):
    """With the default configuration but for a virtiofsd that says each request."""
    log, daemon = erofs.directory / "requests.log", erofs.directory / "virtiofsd"
    log.touch()
    with erofs.container("sleep", "1000") as identity:
        parent = erofs.shim_pids(identity)[0]
        program = next(line.split()[0] for pid, line in harness.processes("virtiofsd", "--fd=").items()
                       if harness.read(f"/proc/{pid}/stat").rsplit(") ", 1)[-1].split()[1] == str(parent))
    daemon.write_text(DAEMON.format(log=log, program=program), encoding="utf-8")
    daemon.chmod(0o755)
    flags = erofs.configured("requests", f'[hypervisor.qemu]\nvirtio_fs_daemon = "{daemon}"\n[factory]\nenable_template = false\n')

    def requests(more):
        with erofs.container("sleep", "1000", flags=(*flags, *more)) as identity:
            assert erofs.exec(identity, "true").code == 0
            before = log.read_bytes().count(b"opcode")
            script = "for i in /bin/* /etc/*; do cat $i >/dev/null; done; echo x >/new; cat /new; rm /new"
            assert erofs.exec(identity, "sh", "-c", script).code == 0
            return log.read_bytes().count(b"opcode") - before

    assert requests(EROFS) == 0
    assert requests(()) > 100
    for path in (log, daemon):
        path.unlink()


def test_a_layer_of_several_containers_is_one_disk(erofs):
    with contextlib.ExitStack() as stack:
        pod = erofs.new_id("pod")
        stack.enter_context(erofs.container(identity=pod, flags=annotations("sandbox", pod)))

        def disks(identity):
            return erofs.exec(identity, "sh", "-c", "ls /sys/block | grep -c '^[vs]d'").out

        first = stack.enter_context(erofs.container("sleep", "1000", identity=f"{pod}-1",
                                                    flags=(*annotations("container", pod), *EROFS)))
        assert disks(first) == b"2\n"  # the layer, and one for its writes
        with erofs.container("sleep", "1000", identity=f"{pod}-2", flags=(*annotations("container", pod), *EROFS)) as other:
            assert disks(other) == b"3\n"
            assert erofs.exec(other, "cat", "/bin/busybox").out == erofs.exec(first, "cat", "/bin/busybox").out
        harness.wait_for(lambda: disks(first) == b"2\n", "the disk of the one that is gone to be taken out")
        assert erofs.exec(first, "cat", "/bin/busybox").code == 0


@pytest.mark.parametrize("whose", ["shim", "machine"])
def test_a_kill_leaves_the_images_to_the_next_pod(erofs, whose):
    for _ in range(2):
        identity = erofs.new_id("killed")
        erofs.start_detached(identity, "sh", "-c", "while :; do cat /bin/* >/written; done", flags=EROFS)
        harness.kill(erofs.shim_pids(identity) if whose == "shim" else erofs.qemu_pids(identity))
        harness.wait_for(lambda: not erofs.qemu_pids(identity), "the machine's end")  # pylint: disable=cell-var-from-loop
        erofs.remove(identity)
        assert erofs.run("sh", "-c", f"{KIND}; ls /written 2>&1", flags=EROFS).out.endswith(b"No such file or directory\n")
