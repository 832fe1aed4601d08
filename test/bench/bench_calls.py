# SPDX-License-Identifier: Apache-2.0
"""What bench measures through the Task API itself, without ctr or containerd in between: execs, and bytes through fifos.

The guest's programs are busybox: dd with 64 KiB blocks, so that they are no bottleneck; ceiling() says how fast they
alone are, through a pipe in the guest.
"""
import contextlib
import fcntl
import os
import re
import statistics
import subprocess
import time

from task_client import Exec
from ttrpc_client import ANSWER_SECONDS

EXECS = 41
ECHOES = 300
ECHO = b"x" * 63 + b"\n"
BLOCK_KIB = 64
OUTPUT_MIB = 128
INPUT_MIB = 64


class Calls:
    def __init__(self, client, container):
        self.client = client
        self.container = container
        self.count = 0

    def make(self, *command, terminal=False):
        self.count += 1
        return Exec(self.client, self.container, f"calls{self.count}", *command, terminal=terminal)

    def exec_seconds(self, count=EXECS):
        """Exec, Start, Wait and Delete of `true`; the median."""
        def once():
            process = self.make("true")
            began = time.monotonic()
            process.start()
            process.wait()
            self.client.call("Delete", process.key)
            seconds = time.monotonic() - began
            process.close()
            return seconds
        return statistics.median(once() for _ in range(count))

    def output_rate(self, mib=OUTPUT_MIB):
        """Bytes per second from a process to the reader of its fifo, from the start until its end of file."""
        process = self.make("dd", "if=/dev/zero", f"bs={BLOCK_KIB}k", f"count={mib * 1024 // BLOCK_KIB}")
        began = time.monotonic()
        process.start()
        size = 0
        while data := process.read():
            size += len(data)
        seconds = time.monotonic() - began
        process.wait()
        process.delete()
        assert size == mib << 20, f"{size} bytes of output have come, not {mib << 20}"
        return size / seconds

    def input_rate(self, mib=INPUT_MIB):
        """Bytes per second from the writer of a fifo to a process, until the process has seen the end and exited."""
        process = self.make("dd", "of=/dev/null", f"bs={BLOCK_KIB}k")
        block = bytes(1 << 20)
        process.start()
        began = time.monotonic()
        for _ in range(mib):
            rest = memoryview(block)
            while rest:
                rest = rest[self.write(process, rest):]
        process.close_stdin()
        assert process.wait() == 0
        seconds = time.monotonic() - began
        process.delete()
        return (mib << 20) / seconds

    def echo_seconds(self, echoes=ECHOES):
        """The times of `echoes` round trips of ECHO through `cat` on a terminal, sorted."""
        process = self.make("sh", "-c", "stty raw -echo; echo ready; exec cat", terminal=True)
        process.start()
        assert b"ready" in process.read()
        times = []
        for _ in range(echoes):
            began = time.monotonic()
            self.write(process, ECHO)
            size = 0
            while size < len(ECHO):
                data = process.read()
                assert data, "no echo"
                size += len(data)
            times.append(time.monotonic() - began)
        process.kill()
        process.wait()
        process.delete()
        return sorted(times)

    @staticmethod
    def write(process, data):
        """runc's shim opens its end of the fifo some time after the process runs; until then there is no reader."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return os.write(process.stdin, data)
            except BrokenPipeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)

    @contextlib.contextmanager
    def flood(self):
        """While the block runs another exec writes as fast as its reader, a process of its own, takes it."""
        process = self.make("dd", "if=/dev/zero", f"bs={BLOCK_KIB}k")
        process.start()
        fcntl.fcntl(process.stdout, fcntl.F_SETFL, 0)
        with subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL) as reader:
            try:
                yield
            finally:
                process.kill()
                process.wait()
                reader.wait()
                process.delete()

    def ceiling(self, mib=OUTPUT_MIB):
        """Bytes per second of the guest's programs alone, through a pipe there."""
        process = self.make("sh", "-c", f"time dd if=/dev/zero bs={BLOCK_KIB}k count={mib * 1024 // BLOCK_KIB} | "
                            f"dd of=/dev/null bs={BLOCK_KIB}k")
        process.start()
        process.wait()
        text = os.read(process.stderr, 1 << 16).decode()
        process.delete()
        minutes, seconds = re.search(r"^real\s+(\d+)m\s*([\d.]+)s", text, re.MULTILINE).groups()
        return (mib << 20) / (60 * int(minutes) + float(seconds))
