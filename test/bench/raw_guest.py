# SPDX-License-Identifier: Apache-2.0
"""A raw machine with a script instead of the agent: what a guest can do with nothing of ours in it. It has the pod's kernel and
processor, and an initramfs of busybox, the script and the programs that it calls.
"""
import gzip
import os
import shutil
import subprocess

APPLETS = ("sh", "mkdir", "mount", "ip", "poweroff")
SCRIPT = """#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
{script}
poweroff -f
"""


class RawGuest:
    """machine: a RawMachine, of which all but the devices and the initramfs are taken."""

    def __init__(self, machine, initrd, script, programs):
        self.machine, self.initrd = machine, initrd
        self.boot = list(machine.boot)
        self.boot[self.boot.index("-initrd") + 1] = str(initrd)
        self.boot[self.boot.index("-append") + 1] += " rdinit=/init"
        self.pack(script, programs)

    def command(self, *devices, inside=()):
        """QEMU's, in the cgroup of raw machines and through the words `inside`. Its output is the serial console."""
        raw = self.machine
        return [*raw.entering, *inside, raw.emulator, "-machine", raw.machine, "-accel", raw.accelerator, *raw.processor,
                "-m", raw.memory, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *self.boot,
                "-serial", "stdio", *[str(word) for word in devices]]

    def pack(self, script, programs):
        root = self.initrd.with_suffix(".root")
        for name in ("bin", "proc", "dev"):
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for applet in APPLETS:
            (root / "bin" / applet).symlink_to("busybox")
        for program in programs:
            shutil.copy(program, root / program.name)
        os.mknod(root / "dev/console", 0o600 | 0o020000, os.makedev(5, 1))
        init = root / "init"
        init.write_text(SCRIPT.format(script=script), encoding="utf-8")
        init.chmod(0o755)
        names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
        archive = subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        self.initrd.write_bytes(gzip.compress(archive, 1))
        shutil.rmtree(root)


def build(source, program):
    """A static program of one C file, which runs in any guest."""
    subprocess.run(["gcc", "-O1", "-static", "-o", program, source], check=True)
    return program
