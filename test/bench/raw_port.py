# SPDX-License-Identifier: Apache-2.0
"""A virtio-serial port of a raw machine: as fast as bytes of the agent's channel could come and go with nothing of ours in
between.
"""
import contextlib
import pathlib
import socket
import struct
import subprocess
import time

from raw_guest import RawGuest, build

HERE = pathlib.Path(__file__).resolve().parent
PORT_SECONDS = 120
BLOCK = 1 << 20
SCRIPT = "/stream_rate port /dev/vport0p1"


class RawPort:
    """The host's end; stream_rate.c says what a request is."""

    def __init__(self, connection):
        self.connection = connection

    def ask(self, kind, size):
        self.connection.sendall(struct.pack("@cQ", kind, size))

    def output_rate(self, mib):
        """Bytes per second from the guest, from the request until all have come."""
        began = time.monotonic()
        self.ask(b"r", mib << 20)
        self.take(mib << 20)
        return (mib << 20) / (time.monotonic() - began)

    def input_rate(self, mib):
        """Bytes per second to the guest, until it has answered that it has all."""
        began = time.monotonic()
        self.ask(b"s", mib << 20)
        block = bytes(BLOCK)
        for _ in range(mib):
            self.connection.sendall(block)
        self.take(1)
        return (mib << 20) / (time.monotonic() - began)

    def take(self, size):
        while size:
            data = self.connection.recv(min(size, BLOCK))
            assert data, "the raw machine has closed its port"
            size -= len(data)


@contextlib.contextmanager
def raw_port(bench):
    """A raw machine that answers at its port while the block runs."""
    directory = bench.kata.directory
    program = build(HERE / "stream_rate.c", directory / "stream_rate")
    guest = RawGuest(bench.raw, directory / "port.img", SCRIPT, [program])
    path = directory / "port"
    # QEMU connects before the guest runs, which thus never reads from a port without another end.
    command = guest.command("-device", "virtio-serial-pci", "-chardev", f"socket,id=port,path={path}", "-device",
                            "virtserialport,chardev=port")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(PORT_SECONDS)
        process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        stack.callback(process.kill)
        connection = stack.enter_context(listener.accept()[0])
        connection.settimeout(PORT_SECONDS)
        port = RawPort(connection)
        port.output_rate(1)  # it has booted
        yield port
