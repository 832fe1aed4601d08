# SPDX-License-Identifier: Apache-2.0
"""Calls of containerd's Task API straight to a shim's socket, for what ctr cannot ask or time.

A frame is a header of 10 bytes (length, stream, type, flags) and a protobuf message. The messages used here have
numbers, strings and messages for fields only, so a dict {field number: value} stands for one.
"""
import contextlib
import json
import pathlib
import socket
import struct
import threading

SERVICE = "containerd.task.v2.Task"
FIXED_SIZE = {1: 8, 5: 4}  # of the wire types without a length
REQUEST, RESPONSE = 1, 2
ANSWER_SECONDS = 60
STATUS = {1: "CREATED", 2: "RUNNING", 3: "STOPPED", 4: "PAUSED"}
DEADLINE_EXCEEDED, NOT_FOUND, UNAVAILABLE = 4, 5, 14


class CallError(Exception):
    """The error answer of a call: `code` as in gRPC, and the text."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


def _number(value):
    value &= (1 << 64) - 1  # a negative number takes ten bytes
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode(fields):
    out = b""
    for field, value in fields.items():
        if isinstance(value, int):
            out += _number(field << 3) + _number(value)
            continue
        for item in value if isinstance(value, list) else [value]:
            data = encode(item) if isinstance(item, dict) else item.encode() if isinstance(item, str) else item
            out += _number(field << 3 | 2) + _number(len(data)) + data
    return out


def decode(data):
    """{field number: int or bytes}; of a repeated field the last."""
    return dict(decode_all(data))


def decode_all(data):
    """[(field number, int or bytes)], as they stand."""
    fields, at = [], 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        kind = key & 7
        size = FIXED_SIZE.get(kind) or number()
        value = size
        if kind != 0:
            value, at = data[at:at + size], at + size
        fields.append((key >> 3, value))
    return fields


def address_in(bundle):
    """The shim's socket; containerd 2 writes it into another file than 1."""
    with contextlib.suppress(FileNotFoundError):
        return json.loads((bundle / "bootstrap.json").read_text(encoding="utf-8"))["address"]
    return (bundle / "address").read_text(encoding="utf-8").strip()


class Shim:
    """One connection to a shim. Calls may be made from several threads at once."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._lock = threading.Condition()
        self._answers, self._stream, self._is_closed = {}, -1, False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def of(cls, bundle):
        return cls(address_in(pathlib.Path(bundle)).removeprefix("unix://"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):  # the shim may have gone first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def _read(self):
        stream = self._socket.makefile("rb")
        while len(header := stream.read(10)) == 10:
            length, identity, kind, _ = struct.unpack(">IIBB", header)
            data = stream.read(length)
            with self._lock:
                if kind == RESPONSE:
                    self._answers[identity] = decode(data)
                    self._lock.notify_all()
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()

    def wait_closed(self, timeout=ANSWER_SECONDS):
        """Whether the shim has closed the connection in that time."""
        with self._lock:
            return self._lock.wait_for(lambda: self._is_closed, timeout)

    def begin(self, method, fields, service=SERVICE):
        """Sends a call; finish() with the returned number gives its answer."""
        with self._lock:
            self._stream += 2
            data = encode({1: service, 2: method, 3: encode(fields)})
            self._socket.sendall(struct.pack(">IIBB", len(data), self._stream, REQUEST, 0) + data)
            return self._stream

    def finish(self, number, timeout=ANSWER_SECONDS):
        """The answer's fields. CallError for an error, TimeoutError when none comes."""
        return decode(self.finish_bytes(number, timeout))

    def finish_bytes(self, number, timeout=ANSWER_SECONDS):
        with self._lock:
            if not self._lock.wait_for(lambda: number in self._answers or self._is_closed, timeout):
                raise TimeoutError(f"no answer in {timeout} s")
            if number not in self._answers:
                raise CallError(UNAVAILABLE, "connection closed")
            answer = self._answers.pop(number)
        status = decode(answer.get(1, b""))
        if status.get(1, 0) != 0:
            raise CallError(status[1], status.get(2, b"").decode())
        return answer.get(2, b"")

    def call(self, method, fields, timeout=ANSWER_SECONDS, service=SERVICE):
        return self.finish(self.begin(method, fields, service), timeout)

    def state(self, identity, exec_id=""):
        return STATUS[self.call("State", {1: identity, 2: exec_id})[4]]

    def connect(self, identity):
        return self.call("Connect", {1: identity})

    def kill(self, identity, number, exec_id="", every=False):
        return self.call("Kill", {1: identity, 2: exec_id, 3: int(number), 4: int(every)})

    def wait(self, identity, exec_id=""):
        """The exit status."""
        return self.call("Wait", {1: identity, 2: exec_id}).get(1, 0)


class EventSocket:
    """Stands in for containerd where shims send their events: collects (topic, event fields) in `events`."""

    def __init__(self, path):
        self.events = []
        self._socket = socket.socket(socket.AF_UNIX)
        pathlib.Path(path).unlink(missing_ok=True)
        self._socket.bind(str(path))
        self._socket.listen()
        self._peers = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for each in [self._socket, *self._peers]:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has gone by itself
            each.close()

    def _accept(self):
        while True:
            try:
                peer = self._socket.accept()[0]
            except OSError:
                return
            self._peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        stream = peer.makefile("rb")
        while len(header := stream.read(10)) == 10:
            length, identity, _, _ = struct.unpack(">IIBB", header)
            envelope = decode(decode(decode(stream.read(length))[3])[1])
            self.events.append((envelope[3].decode(), decode(decode(envelope[4])[2])))
            peer.sendall(struct.pack(">IIBB", 0, identity, RESPONSE, 0))
