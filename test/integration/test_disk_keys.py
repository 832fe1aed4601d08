# SPDX-License-Identifier: Apache-2.0
"""Keys of the configuration that say how the machine's process works with disks and files."""
import os
import pathlib

import pytest

import harness
from changed_installation import one_line
from test_disks import claim, disk  # pylint: disable=unused-import

WRITE = "echo from the guest | dd of={0} bs=512 seek=8 conv=sync,fsync 2>/dev/null; " \
    "echo 3 >/proc/sys/vm/drop_caches 2>/dev/null; dd if={0} bs=512 skip=8 count=1 2>/dev/null | head -c 14; ls /sys/block"


def keys(kata, *lines):
    return kata.configured("keys", "[hypervisor.qemu]\n" + "".join(f"{line}\n" for line in lines))


def flags_of(pid, path):
    """How each open file of the process at `path` was opened, as bits."""
    found = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(entry) == path:
            info = harness.read(f"/proc/{pid}/fdinfo/{entry.name}").split()
            found.append(int(info[info.index("flags:") + 1], 8))
    return found


def test_a_disk_past_the_page_cache_with_threads_behind_the_controller(kata, disk):
    lines = ('block_device_driver = "virtio-scsi"', 'block_device_aio = "native"', "block_device_cache_set = true",
             "block_device_cache_direct = true", "enable_iothreads = true", "indep_iothreads = 2")
    with kata.container(flags=(*keys(kata, *lines), "--device", disk)) as identity:
        result = kata.exec(identity, "sh", "-c", WRITE.format(disk))
        assert result.out.startswith(b"from the guest") and b"sda" in result.out and b"vda" not in result.out, result
        machine = kata.qemu_pids(identity)[0]
        assert harness.read(f"/proc/{machine}/cmdline").count('"qom-type":"iothread"') == 3
        assert "/[aio]" in harness.read(f"/proc/{machine}/maps")
        assert any(flags & os.O_DIRECT for flags in flags_of(machine, disk))
    assert claim(disk)
    with open(disk, "rb") as file:
        file.seek(8 * 512)
        assert file.read(14) == b"from the guest"


def test_as_it_is_by_itself(kata, disk):
    with kata.container(flags=("--device", disk)) as identity:
        result = kata.exec(identity, "sh", "-c", WRITE.format(disk))
        assert result.out.startswith(b"from the guest") and b"vda" in result.out, result
        machine = kata.qemu_pids(identity)[0]
        assert "iothread" not in harness.read(f"/proc/{machine}/cmdline")
        assert "/[aio]" not in harness.read(f"/proc/{machine}/maps")
        assert not any(flags & os.O_DIRECT for flags in flags_of(machine, disk))


def test_io_uring_with_a_thread_of_its_own(kata, disk):
    lines = ('block_device_aio = "io_uring"', "indep_iothreads = 1", "block_device_cache_set = true",
             "block_device_cache_noflush = true")
    with kata.container(flags=(*keys(kata, *lines), "--device", disk)) as identity:
        result = kata.exec(identity, "sh", "-c", WRITE.format(disk))
        assert result.out.startswith(b"from the guest") and b"vda" in result.out, result
    assert claim(disk)


def test_what_virtiofsd_is_told_besides(kata):
    lines = ('virtio_fs_extra_args = ["--thread-pool-size=2"]', "virtio_fs_queue_size = 64")
    with kata.container(flags=keys(kata, *lines)) as identity:
        shim = kata.shim_pids(identity)[0]
        daemons = [line for pid, line in harness.processes("virtiofsd", "--fd=").items()
                   if harness.read(f"/proc/{pid}/stat").rsplit(") ", 1)[-1].split()[1] == str(shim)]
        assert len(daemons) == 1 and "--thread-pool-size=2" in daemons[0] and "--thread-pool-size=1" not in daemons[0]
        assert kata.exec(identity, "sh", "-c", "echo x >/file; cat /file").out == b"x\n"


@pytest.mark.parametrize("line, words", [
    ('virtio_fs_extra_args = ["-o", "source=/"]', ("virtio_fs_extra_args", "source=/")),
    ('block_device_driver = "nvdimm"', ("block_device_driver", "virtio-blk", "virtio-scsi")),
    ('block_device_aio = "native"', ("block_device_aio", "block_device_cache_direct"))])
def test_what_cannot_be_is_refused_by_name(kata, line, words):
    one_line(kata.run("true", flags=keys(kata, line)).err, *words)
