# SPDX-License-Identifier: Apache-2.0
"""A client of a shim's Task service without containerd or ctr around it: for measuring, and for stdio whose fifos the
caller holds. Speaks as much of ttrpc and of protobuf as that takes; the numbers are those of proto/schema.
"""
import contextlib
import itertools
import json
import os
import pathlib
import select
import socket
import struct
import tempfile
import time

SERVICE = "containerd.task.v2.Task"
PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
HEADER = struct.Struct(">IIBB")
REQUEST = 1
ANSWER_SECONDS = 60


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def message(fields):
    """{number: int, str or bytes} as a protobuf message."""
    out = b""
    for number, value in fields.items():
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def fields_of(data):
    """The last value of each field of a protobuf message."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = 0
        for shift in itertools.count(0, 7):
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            at += value
            value = data[at - value:at]
        found[key >> 3] = value
    return found


def address_in(bundle):
    """The shim's socket; containerd 2 writes it into another file than 1."""
    with contextlib.suppress(FileNotFoundError):
        return json.loads((bundle / "bootstrap.json").read_text(encoding="utf-8"))["address"]
    return (bundle / "address").read_text(encoding="utf-8").strip()


class TaskError(Exception):
    pass


class TaskClient:
    def __init__(self, bundle):
        self.bundle = pathlib.Path(bundle)
        address = address_in(self.bundle)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_SECONDS)
        self.socket.connect(address.removeprefix("unix://"))
        self.ids = itertools.count(1, 2)
        self.answers = {}
        spec = json.loads((self.bundle / "config.json").read_text(encoding="utf-8"))
        self.process = spec["process"]

    def close(self):
        self.socket.close()

    def send(self, method, fields):
        """Begins a call; finish() with the returned number gives its answer."""
        number = next(self.ids)
        data = message({1: SERVICE, 2: method, 3: message(fields)})
        self.socket.sendall(HEADER.pack(len(data), number, REQUEST, 0) + data)
        return number

    def finish(self, number):
        while number not in self.answers:
            length, answered, _, _ = HEADER.unpack(self._read(HEADER.size))
            self.answers[answered] = self._read(length)
        answer = fields_of(self.answers.pop(number))
        status = fields_of(answer.get(1, b""))
        if status.get(1, 0) != 0:
            raise TaskError(status.get(2, b"").decode())
        return fields_of(answer.get(2, b""))

    def call(self, method, fields):
        return self.finish(self.send(method, fields))

    def _read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise TaskError("the shim has closed the connection")
            data += part
        return data


class Exec:
    """One exec with fifos of its own, as ctr makes it. Its ends of them are stdin, stdout and stderr."""

    def __init__(self, client, container, exec_id, *command, terminal=False):
        self.client = client
        self.key = {1: container, 2: exec_id}
        self.terminal = terminal
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{container}-"))
        self.paths = [str(self.directory / name) for name in ("stdin", "stdout", "stderr")]
        for path in self.paths:
            os.mkfifo(path, 0o600)
        self.stdout, self.stderr = (os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in self.paths[1:])
        # Opened through a reader of its own: a process may have ended, and the shim closed its end, before we come.
        reader = os.open(self.paths[0], os.O_RDONLY | os.O_NONBLOCK)
        self.stdin = os.open(self.paths[0], os.O_WRONLY)
        os.close(reader)
        spec = dict(client.process, args=list(command), terminal=terminal)
        self.spec = message({1: PROCESS_TYPE, 2: json.dumps(spec)})
        self.waiting = None

    def start(self):
        stdin, stdout, stderr = self.paths
        request = {**self.key, 3: int(self.terminal), 4: stdin, 5: stdout, 7: self.spec}
        if not self.terminal:
            request[6] = stderr
        self.client.call("Exec", request)
        self.waiting = self.client.send("Wait", self.key)
        self.client.call("Start", self.key)
        return self

    def wait(self):
        """The exit status."""
        return self.client.finish(self.waiting).get(1, 0)

    def kill(self, number=9):
        self.client.call("Kill", {**self.key, 3: number})

    def delete(self):
        self.client.call("Delete", self.key)
        self.close()

    def close_stdin(self):
        """The process sees the end of its input."""
        os.close(self.stdin)
        self.stdin = None
        self.client.call("CloseIO", {**self.key, 3: 1})

    def close(self):
        for descriptor in (self.stdin, self.stdout, self.stderr):
            if descriptor is not None:
                os.close(descriptor)
        for path in self.paths:
            os.unlink(path)
        self.directory.rmdir()

    def read(self, size=1 << 20, seconds=ANSWER_SECONDS):
        """Some bytes of stdout; none at its end, or when none come in time."""
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return b""
            with contextlib.suppress(BlockingIOError):
                return os.read(self.stdout, size)

    @staticmethod
    def read_now(descriptor):
        """What is there already."""
        with contextlib.suppress(BlockingIOError):
            return os.read(descriptor, 1 << 20)
        return b""
