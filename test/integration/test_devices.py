# SPDX-License-Identifier: Apache-2.0
"""Character devices that a container asks for are the guest's: it has them as with runc, or a line says that it cannot."""
import os

import pytest

from failures import told

RUNC = "io.containerd.runc.v2"


def asked_for(kata, device, runtime, *command):
    return kata.ctr("run", "--rm", "--runtime", runtime, "--fifo-dir", kata.directory / "fifo", "--device", device,
                    kata.image, kata.new_id(), *command)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/fuse", "/dev/net/tun", "/dev/loop-control", "/dev/ttyS0"])
def test_the_guest_has_it(kata, device):
    if not os.path.exists(device):
        pytest.skip(f"the host has no {device}")
    look = f"stat -c '%F %t:%T %a %u:%g' {device}; : <{device} && echo opened"
    runc, here = (asked_for(kata, device, runtime, "sh", "-c", look) for runtime in (RUNC, kata.runtime))

    assert runc.code == here.code == 0, (runc.err, here.err)
    assert runc.out == here.out


def test_what_it_does_not_have_is_named(kata, tmp_path):
    number = os.makedev(10, 199)  # of no driver of the kernel's
    os.mknod(tmp_path / "odd", 0o020600, number)
    result = asked_for(kata, tmp_path / "odd", kata.runtime, "true")

    assert result.code != 0
    assert f'"{tmp_path}/odd": the guest has no character device 10:199' in result.err, result.err
    told("The guest has no such device", result.err)


def test_a_privileged_container_is_not_held_up_by_what_the_host_has(kata):
    """And its loop devices are the guest's, where it may attach a file."""
    script = ("dd if=/dev/zero of=/img bs=1M count=8 2>/dev/null; loop=$(losetup -f); losetup $loop /img && mke2fs $loop >/dev/null && "
              "mkdir /m && mount -t ext2 $loop /m && echo kept >/m/file && cat /m/file; umount /m; losetup -d $loop")
    result = kata.run("sh", "-c", script, flags=("--privileged", "--allow-new-privs"))

    assert result.out == b"kept\n", result
