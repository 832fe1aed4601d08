# SPDX-License-Identifier: Apache-2.0
"""QEMU alone, with the kernel, initramfs and command line of a pod's machine."""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

BOOT_SECONDS = 60


class RawMachine:
    """The machine of a container without anything around it, from the arguments its QEMU was started with."""

    def __init__(self, pid, directory, entering=()):
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        self.emulator = words[0]
        value = {words[i]: words[i + 1] for i in range(len(words) - 1) if words[i].startswith("-")}
        self.machine = value["-machine"].split(",")[0]
        self.accelerator = value["-accel"].split(",")[0]
        self.memory = re.search(r"\d+[kmgKMG]?", value["-m"]).group(0)  # without the room to grow
        self.boot = [word for name in ("-bios", "-kernel", "-initrd", "-append") if name in value
                     for word in (name, value[name])]
        self.processor = [word for name in ("-cpu", "-smp") for word in (name, value[name])]
        port = next(word for word in words if "virtserialport" in word)
        self.port = re.search(r'"?name"?[=:]"?([\w.-]+)', port).group(1)
        self.entering = entering
        self.qmp = str(directory / "qmp")
        self.channel = str(directory / "channel")

    def use_kernel(self, path):
        self.boot[self.boot.index("-kernel") + 1] = str(path)

    def start(self):
        return subprocess.Popen(
            [*self.entering, self.emulator, "-machine", self.machine, "-accel", self.accelerator, "-m",
             self.memory, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", *self.boot,
             "-device", "virtio-serial-pci", "-chardev", f"socket,id=channel,path={self.channel},server=on,wait=off",
             "-device", f"virtserialport,id=agent,chardev=channel,name={self.port}",
             "-qmp", f"unix:{self.qmp},server=on,wait=off"], stdin=subprocess.DEVNULL)

    def until_agent_opens_its_port(self):
        """Boots, and returns the CPU seconds that QEMU took."""
        process = self.start()
        try:
            deadline = time.monotonic() + BOOT_SECONDS
            monitor = socket.socket(socket.AF_UNIX)
            while monitor.connect_ex(self.qmp) != 0 and time.monotonic() < deadline:
                time.sleep(0.005)
            monitor.settimeout(BOOT_SECONDS)
            lines = monitor.makefile("rw")
            lines.write('{"execute": "qmp_capabilities"}\n')
            lines.flush()
            for line in lines:
                event = json.loads(line)
                if event.get("event") == "VSERPORT_CHANGE" and event["data"]["open"]:
                    return cpu_seconds(process.pid)
            sys.exit("measuring a raw boot: QEMU ended before the agent opened its port")
        finally:
            process.kill()
            process.wait()


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
