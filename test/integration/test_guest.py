# SPDX-License-Identifier: Apache-2.0
"""The agent and the machine's devices without a sandbox between: guest_probe boots a machine with two disks,
plugs in a third, finds them by their serial, and checks what the agent's protocol and a container in the guest allow."""
import os
import pathlib
import shutil
import subprocess

import harness

SECONDS = 300
IMAGE_MIB = 16


def make_image(path, tree):
    with open(path, "wb") as image:
        image.truncate(IMAGE_MIB << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, path], check=True)


def test_guest_probe(prefix, tmp_path):
    program = pathlib.Path(os.environ.get("KATA_GUEST_PROBE", harness.REPOSITORY / "build/ci/test/guest_probe"))
    assert program.exists(), f"no {program}; run test/run integration"
    tree = tmp_path / "tree"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin")
    for applet in subprocess.check_output(["/bin/busybox", "--list"], text=True).split():
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    (tree / "etc/a-bound-file").touch()  # a mount point, which a read-only disk must have
    make_image(tmp_path / "disk", tree)
    make_image(tmp_path / "disk.2", tree)
    make_image(tmp_path / "disk.3", tree)

    done = subprocess.run([program, prefix, tmp_path / "disk"], capture_output=True, text=True, timeout=SECONDS)

    print(done.stdout, done.stderr, sep="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok  ") >= 50
    written = subprocess.check_output(["debugfs", "-R", "cat /written", tmp_path / "disk.3"], text=True)
    assert written == "written in the guest\n"
    assert not harness.processes("guest-probe-"), "a process is left"
