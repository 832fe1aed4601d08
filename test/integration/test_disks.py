# SPDX-License-Identifier: Apache-2.0
"""Block devices and images of the host that the machine gets as disks: a container's device, a root file system."""
import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import ttrpc_client
from changed_installation import edit, installation, one_line
from failures import told
from harness import COMMAND_SECONDS, wait_for
from test_rootfs_mounts import Lists, lists, mount  # pylint: disable=unused-import

MIB = 1 << 20
MAKERS = {"ext4": ("mke2fs", "-q", "-t", "ext4", "-d"), "xfs": ("mkfs.xfs", "-q"), "erofs": ("mkfs.erofs", "--quiet")}


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def loop_device(directory, size="8m"):
    """Where the host has some."""
    if subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no loop devices")
    image = directory / "disk.img"
    run("truncate", "-s", size, str(image))
    device = run("losetup", "--find", "--show", str(image)).strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)
        wait_for(lambda: not run("losetup", "-j", str(image)), "the loop device to be let go")
        image.unlink()


@pytest.fixture
def disk(kata):
    with loop_device(kata.directory) as device:
        yield device


def claim(device):
    """Whether nobody on the host has it."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_EXCL))
    except OSError:
        return False
    return True


def test_a_device_is_the_hosts(kata, disk):
    with open(disk, "r+b") as file:
        file.write(b"from the host\n")
    script = f"head -c 14 {disk}; stat -c %F {disk}; echo 'from the guest' | dd of={disk} bs=512 seek=8 conv=fsync 2>/dev/null"
    result = kata.run("sh", "-c", script, flags=("--device", disk))

    assert result.code == 0, result
    assert result.out.decode().splitlines()[0] == "from the host"
    assert "block special file" in result.out.decode()
    with open(disk, "rb") as file:
        file.seek(8 * 512)
        assert file.read(14) == b"from the guest"
    assert claim(disk)


def test_a_device_is_given_to_one_pod(kata, disk):
    with kata.container("sleep", "1000", flags=("--device", disk)) as identity:
        assert not claim(disk)
        result = kata.run("true", flags=("--device", disk))
        one_line(result.err, disk, "in use on the host")
        assert kata.exec(identity, "dd", f"if={disk}", "of=/dev/null").code == 0
    assert claim(disk)


def test_a_device_that_the_host_has_mounted_is_refused(kata, disk):
    run("mke2fs", "-q", "-t", "ext4", disk)
    place = kata.directory / "mounted"
    place.mkdir()
    run("mount", disk, str(place))
    try:
        result = kata.run("true", flags=("--device", disk))
    finally:
        run("umount", str(place))
        place.rmdir()
    one_line(result.err, disk, "in use on the host")
    told("A disk is in use", result.err)


def test_a_killed_shim_lets_go_of_a_device(kata, disk):
    with kata.container("sleep", "1000", flags=("--device", disk)) as identity:
        os.kill(kata.shim_pids(identity)[0], 9)
        wait_for(lambda: claim(disk), "the device to be free")


@pytest.mark.parametrize("who", ["shim", "machine"])
@pytest.mark.parametrize("delay", [0.3, 0.5, 0.8])
def test_a_kill_in_the_middle_of_a_start_leaves_nothing_of_its_disks(kata, disk, who, delay):
    """A device, and a disk for what the container writes; twice, since what is left may be in the next one's way."""
    scratch = kata.directory / "scratch"
    text = f'[hypervisor.qemu]\nrootfs_writes = "disk"\nrootfs_disk_path = "{scratch}"\n'
    flags = (*kata.configured("scratch", text), "--device", disk)
    for _ in range(2):
        identity = kata.new_id()
        with subprocess.Popen(kata.run_command("sleep", "1000", flags=flags, identity=identity), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as client:
            wait_for(lambda name=identity: kata.shim_pids(name), "the shim")
            time.sleep(delay)
            for pid in kata.shim_pids(identity) if who == "shim" else kata.qemu_pids(identity):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            # A machine that was killed before its guest ran boots: the container is there then.
            wait_for(lambda: client.poll() is not None or any(task[1] == "RUNNING" for task in kata.tasks().values()),
                     "the start's end")
            # The client removes what it has run. Who does so beside it may find that the shim has gone.
            kata.ctr("task", "kill", "--signal", "SIGKILL", identity)
            client.wait(timeout=COMMAND_SECONDS)
            kata.remove(identity)
        wait_for(lambda: claim(disk), "the device to be free")
        assert not scratch.exists() or not list(scratch.iterdir())
    shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def image_of(lists, kind, size="64m"):
    tree, image = lists.directory / "tree", lists.directory / f"image.{kind}"
    shutil.copytree(lists.base, tree, symlinks=True)
    for place in ("run", "dev", "proc", "sys", "tmp"):  # of a root that cannot be written to
        (tree / place).mkdir(exist_ok=True)
    run("truncate", "-s", size, str(image))
    if kind == "erofs":
        image.unlink()
        run(*MAKERS[kind], str(image), str(tree))
    elif kind == "ext4":
        run(*MAKERS[kind], str(tree), str(image))
    else:
        run(*MAKERS[kind], str(image))
        with mounted(image) as place:
            shutil.copytree(tree, place, symlinks=True, dirs_exist_ok=True)
    try:
        yield image
    finally:
        assert run("losetup", "-j", str(image)) == ""
        shutil.rmtree(tree)
        image.unlink()


@contextlib.contextmanager
def mounted(image):
    place = image.with_suffix(".mounted")
    place.mkdir()
    run("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        run("umount", str(place))
        place.rmdir()


KIND = "grep ' / ' /proc/mounts | cut -d' ' -f1,3"


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_root_on_an_image_is_the_guests(lists, kind):
    size = "320m" if kind == "xfs" else "64m"
    with image_of(lists, kind, size) as image:
        status, out = lists.run([mount(kind, image, "loop", "rw")], "sh", "-c", f"{KIND}; echo kept >/written")

        assert (status, out.split()) == (0, ["/dev/vda", kind])
        with mounted(image) as place:
            assert (place / "written").read_text(encoding="utf-8") == "kept\n"


def test_a_root_that_is_only_read(lists):
    with image_of(lists, "erofs") as image:
        before = image.read_bytes()
        status, out = lists.run([mount("erofs", image, "loop")], "sh", "-c", f"{KIND}; echo x >/written")
        assert (status, out.split()) == (1, ["/dev/vda", "erofs"])
        assert image.read_bytes() == before


def test_a_root_on_a_device(lists, disk):
    del disk
    with image_of(lists, "ext4") as image:
        device = run("losetup", "--find", "--show", str(image)).strip()
        try:
            assert lists.run([mount("ext4", device, "noatime")], "sh", "-c", KIND) == (0, "/dev/vda ext4\n")
            assert claim(device)
        finally:
            run("losetup", "--detach", device)
            wait_for(lambda: not run("losetup", "-j", str(image)), "the loop device to be let go")


def test_a_damaged_root_is_named(lists):
    with image_of(lists, "ext4") as image:
        with open(image, "r+b") as file:
            file.write(bytes(MIB))
        with pytest.raises(ttrpc_client.CallError, match=f'mounting ext4 "{image}"'):
            lists.run([mount("ext4", image, "loop")], "true")


def test_by_the_host_where_the_operator_wants_it(kata):
    with installation(kata, edit(r"^disable_block_device_use = .*$", "disable_block_device_use = true")) as other:
        made = Lists(other)
        with image_of(made, "ext4") as image:
            assert made.run([mount("ext4", image, "loop")], "sh", "-c", KIND) == (0, "kataShared virtiofs\n")
        shutil.rmtree(made.directory)


def test_more_disks_than_the_machine_has_ports(kata, disk):
    del disk
    images, devices = [], []
    try:
        for number in range(30):
            image = kata.directory / f"many-{number}.img"
            image.write_bytes(f"disk {number}".encode().ljust(64 << 10, b"\0"))
            images.append(image)
            probe = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, check=False, text=True)
            assert probe.returncode == 0, f"{probe.stderr}: the host has too few loop devices"
            devices.append(probe.stdout.strip())
        flags = [word for device in devices for word in ("--device", device)]
        script = "for i in " + " ".join(devices) + "; do dd if=$i bs=8 count=1 2>/dev/null | tr '\\0' '\\n' | head -n 1; " \
            "echo -n written | dd of=$i bs=512 seek=1 2>/dev/null; done; ls /sys/block"
        result = kata.run("sh", "-c", script, flags=flags)
        lines = result.out.decode().split("\n")
        assert lines[:30] == [f"disk {number}"[:8] for number in range(30)], result
        assert sum(line.startswith("sd") for line in lines) == 28
        for image in images:
            assert image.read_bytes()[512:519] == b"written"
    finally:
        for device in devices:
            run("losetup", "--detach", device)
        for image in images:
            wait_for(lambda name=image: not run("losetup", "-j", str(name)), "the loop device to be let go")
            image.unlink()


def test_what_a_container_writes_on_a_disk_of_its_own(kata):
    def change(prefix):
        edit(r"^rootfs_writes = .*$", 'rootfs_writes = "disk"')(prefix)
        edit(r"^rootfs_disk_size = .*$", "rootfs_disk_size = 64")(prefix)
        edit(r"^rootfs_disk_path = .*$", f'rootfs_disk_path = "{kata.directory}/scratch"')(prefix)

    script = f"{KIND}; stat -c '%a %u' /; echo new >/etc/new; rm /bin/sort; cat /etc/new; ls /bin/sort; " \
        "dd if=/dev/zero of=/big bs=1M 2>&1 | grep -o 'No space left on device'; stat -c %s /big"
    with installation(kata, change) as other:
        with other.container("sleep", "1000") as identity:
            out = other.exec(identity, "sh", "-c", f"({script}) 2>&1").out.decode().splitlines()
            assert out[:5] == ["overlay overlay", "755 0", "new", "ls: /bin/sort: No such file or directory",
                               "No space left on device"]
            assert 40 * MIB < int(out[5]) < 64 * MIB
            # Nothing of it is in the snapshot, and the disk has no name.
            snapshot = other.directory / "root/io.containerd.snapshotter.v1.overlayfs/snapshots"
            assert not list(snapshot.glob("*/fs/big")) and not list(snapshot.glob("*/fs/etc/new"))
            assert list((kata.directory / "scratch").iterdir()) == []
        # One that may not write to it has none.
        result = other.run("sh", "-c", KIND, flags=("--read-only",))
        assert result.out == b"kataShared virtiofs\n"
    (kata.directory / "scratch").rmdir()


DIRECT = pathlib.Path("/run/kata-containers/shared/direct-volumes")


def test_a_volume_that_a_storage_plugin_has_assigned(kata, disk):
    """As with Kata Containers: what says of a volume's path which disk it is."""
    run("mke2fs", "-q", "-t", "ext4", disk)
    volume = kata.directory / "pvc"
    volume.mkdir()
    said = DIRECT / base64.urlsafe_b64encode(str(volume).encode()).decode()
    said.mkdir(parents=True)
    (said / "mountInfo.json").write_text(json.dumps({
        "volume-type": "block", "device": disk, "fstype": "ext4", "options": ["noatime"],
        "metadata": {"fsGroup": "4321", "fsGroupChangePolicy": "Always"}}), encoding="utf-8")
    try:
        bind = ("--mount", f"type=bind,src={volume},dst=/data,options=rbind:rw")
        script = "grep ' /data ' /proc/mounts | cut -d' ' -f1,3,4; stat -c '%g %a' /data; echo kept >/data/file"
        result = kata.run("sh", "-c", script, flags=bind)
        assert result.code == 0, result
        name, kind, options, group, mode = result.out.decode().split()
        assert (name, kind, group, mode) == ("/dev/vda", "ext4", "4321", "2775") and "noatime" in options.split(",")
        assert not list(volume.iterdir())

        result = kata.run("stat", "-c", "%g %a %s", "/data/file", flags=bind)
        assert result.out == b"4321 664 5\n"
    finally:
        shutil.rmtree(said)
        volume.rmdir()
