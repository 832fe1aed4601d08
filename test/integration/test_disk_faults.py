# SPDX-License-Identifier: Apache-2.0
"""Disks that are two of a kind, and what the host's file systems do to those on them: they fill up, and they fail."""
import base64
import contextlib
import json
import shutil

import pytest

from harness import wait_for
from test_disks import DIRECT, MIB, claim, disk, loop_device, mounted, run  # pylint: disable=unused-import
from test_neighbours import annotations

FILL = "dd if=/dev/zero of={file} bs=1M count=32 conv=fsync 2>&1 | grep -oE 'No space left on device|Input/output error'"
ERRORS = (b"No space left on device\n", b"Input/output error\n")  # as the guest is told by the kind of disk


@contextlib.contextmanager
def assigned(kata, **volumes):
    """Volumes that a storage plugin has assigned: flags of ctr by which they are at /NAME."""
    flags = []
    try:
        for name, info in volumes.items():
            path = kata.directory / name
            path.mkdir()
            said = DIRECT / base64.urlsafe_b64encode(str(path).encode()).decode()
            said.mkdir(parents=True)
            (said / "mountInfo.json").write_text(json.dumps({"volume-type": "block", **info}), encoding="utf-8")
            flags += ["--mount", f"type=bind,src={path},dst=/{name},options=rbind:rw"]
        yield flags
    finally:
        shutil.rmtree(DIRECT)
        for name in volumes:
            (kata.directory / name).rmdir()


@contextlib.contextmanager
def small(kata, size="4m"):
    """A file system of the host that is soon full."""
    place = kata.directory / "small"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    try:
        yield place
    finally:
        run("umount", str(place))
        place.rmdir()


def assert_lives(kata, identity):
    assert kata.exec(identity, "echo", "here").out == b"here\n"


def test_two_disks_with_one_uuid(kata):
    """As a snapshot of a volume has it."""
    images = [kata.directory / f"{name}.xfs" for name in ("one", "two")]
    run("truncate", "-s", "320m", str(images[0]))
    run("mkfs.xfs", "-q", str(images[0]))
    run("cp", "--sparse=always", str(images[0]), str(images[1]))
    with assigned(kata, one={"device": str(images[0]), "fstype": "xfs", "options": ["noatime"]},
                  two={"device": str(images[1]), "fstype": "xfs"}) as flags:
        script = "echo 1 >/one/file; echo 2 >/two/file; cat /one/file /two/file; grep -c nouuid /proc/mounts"
        result = kata.run("sh", "-c", script, flags=flags)
    assert result.out == b"1\n2\n1\n", result
    for number, image in enumerate(images, 1):
        with mounted(image) as place:
            assert (place / "file").read_text(encoding="utf-8") == f"{number}\n"
        image.unlink()


def test_a_disk_that_is_two_volumes_and_a_device(kata, disk):
    run("mke2fs", "-q", "-t", "ext4", disk)
    info = {"device": disk, "fstype": "ext4"}
    with assigned(kata, one=info, two=info) as flags:
        script = f"echo x >/one/file; cat /two/file; ls /sys/block | grep -c '^[vs]d'; sync; dd if={disk} bs=1 skip=1080 count=2 " \
            "2>/dev/null | od -An -tx1"
        result = kata.run("sh", "-c", script, flags=[*flags, "--device", disk])
    assert result.out.split() == [b"x", b"1", b"53", b"ef"], result  # the mark of ext4
    assert claim(disk)


def test_a_container_that_goes_while_others_have_its_volume(kata, disk):
    run("mke2fs", "-q", "-t", "ext4", disk)
    with assigned(kata, data={"device": disk, "fstype": "ext4"}) as flags, contextlib.ExitStack() as stack:
        pod = kata.new_id("pod")
        stack.enter_context(kata.container(identity=pod, flags=annotations("sandbox", pod)))
        first = stack.enter_context(kata.container(identity=f"{pod}-1", flags=(*annotations("container", pod), *flags)))
        with kata.container(identity=f"{pod}-2", flags=(*annotations("container", pod), *flags)) as second:
            assert kata.exec(second, "sh", "-c", "echo kept >/data/file").code == 0
        assert kata.exec(first, "sh", "-c", "cat /data/file; echo more >>/data/file").out == b"kept\n"
        assert not claim(disk)
        stack.pop_all().close()
    assert claim(disk)
    place = kata.directory / "mounted"
    place.mkdir()
    run("mount", disk, str(place))
    try:
        assert (place / "file").read_text(encoding="utf-8") == "kept\nmore\n"
    finally:
        run("umount", str(place))
        place.rmdir()


def test_a_full_host_below_a_shared_volume(kata):
    with small(kata) as place:
        bind = ("--mount", f"type=bind,src={place},dst=/data,options=rbind:rw")
        with kata.container(flags=bind) as identity:
            result = kata.exec(identity, "sh", "-c", FILL.format(file="/data/file"))
            assert result.out == b"No space left on device\n", result
            assert_lives(kata, identity)
            result = kata.exec(identity, "sh", "-c", "rm /data/file; echo x >/data/other; cat /data/other")
            assert result.out == b"x\n", result


@pytest.mark.parametrize("driver", ["virtio-blk", "virtio-scsi"])
def test_a_full_host_below_a_disk(kata, driver):
    with small(kata) as place:
        image = place / "image"
        run("truncate", "-s", "64m", str(image))
        run("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1", "-O", "^has_journal", str(image))
        flags = kata.configured("driver", f'[hypervisor.qemu]\nblock_device_driver = "{driver}"\n')
        with assigned(kata, data={"device": str(image), "fstype": "ext4"}) as more:
            with kata.container(flags=[*flags, *more]) as identity:
                result = kata.exec(identity, "sh", "-c", FILL.format(file="/data/file"))
                assert result.out in ERRORS, result
                assert_lives(kata, identity)
                assert kata.exec(identity, "ls", "/sys/block").out.split()[-1] == (b"vda" if driver == "virtio-blk" else b"sda")
        # Its own removal, too, has come to an end, and all of it is gone: the file system can be unmounted.


def test_a_full_host_below_what_a_container_writes(kata):
    with small(kata) as place:
        text = f'[hypervisor.qemu]\nrootfs_writes = "disk"\nrootfs_disk_path = "{place}/scratch"\nrootfs_disk_size = 64\n'
        with kata.container(flags=kata.configured("full", text)) as identity:
            result = kata.exec(identity, "sh", "-c", FILL.format(file="/file"))
            assert result.out in ERRORS, result
            assert_lives(kata, identity)


def test_a_disk_that_fails(kata):
    """A loop device of a file that has become shorter: what lies behind its end is an error."""
    with loop_device(kata.directory) as device:
        image = next(kata.directory.glob("disk.img"))
        with open(image, "r+b") as file:
            file.truncate(MIB)
        with kata.container(flags=("--device", device)) as identity:
            script = "dd if={0} of=/dev/null bs=4k skip={1} count=1 2>&1 | grep -o 'Input/output error' || echo read"
            assert kata.exec(identity, "sh", "-c", script.format(device, 0)).out == b"read\n"
            assert kata.exec(identity, "sh", "-c", script.format(device, 1024)).out == b"Input/output error\n"
            assert_lives(kata, identity)
        wait_for(lambda: claim(device), "the device to be free")
