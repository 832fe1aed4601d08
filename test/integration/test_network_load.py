# SPDX-License-Identifier: Apache-2.0
"""A pod's network under load: nothing is lost, changed or in another order. The full sizes are KATA_NETWORK_MIB=256 and
KATA_NETWORK_CONNECTIONS=10000; each test prints how long its load took.
"""
import array
import contextlib
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

import harness
from test_network import MIB, Network

HERE = pathlib.Path(__file__).resolve().parent
TOTAL_MIB = int(os.environ.get("KATA_NETWORK_MIB", "32"))
CONNECTIONS = int(os.environ.get("KATA_NETWORK_CONNECTIONS", "500"))
STREAMS = 8
WORKERS = 4
DATAGRAMS = 200
DATAGRAM_BYTES = 20000  # at most: fourteen fragments
PORT = 4100
ENDS = {4: "10.88.0.1", 6: "fd88:0::1"}
BLOCK_WORDS = MIB // 8


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Flags that put the guest's program at /probe."""
    program = tmp_path_factory.mktemp("probe") / "network_probe"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", program, HERE / "network_probe.c"],
                   check=True)
    return "--mount", f"type=bind,src={program},dst=/probe,options=rbind:ro"


@contextlib.contextmanager
def network_of(kata, mtu):
    made = Network(kata.token)
    made.remove()
    made.make(mtu=mtu)
    try:
        yield made
        assert made.of_the_host() == []
    finally:
        made.remove()


def receive(connection, size):
    data = bytearray()
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return bytes(data)


def blocks(stream, size):
    """The bytes of a stream, as network_probe.c has them."""
    first = stream << 40
    for at in range(0, size // 8, BLOCK_WORDS):
        yield array.array("Q", range(first + at, first + min(at + BLOCK_WORDS, size // 8))).tobytes()


class Server:
    """Answers in the peer's namespace, a thread for each connection. `wrong` has what was not as it was sent."""

    def __init__(self, network, family, answer):
        self.listener = network.listen(ENDS[family], PORT)
        self.listener.listen(256)
        self.answer, self.wrong, self.count, self.threads = answer, [], 0, []
        self.loop = threading.Thread(target=self.serve, daemon=True)
        self.loop.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.count += 1
                thread = threading.Thread(target=self.one, args=(connection,), daemon=True)
                self.threads.append(thread)
                thread.start()

    def one(self, connection):
        try:
            with connection:
                self.answer(connection)
        except Exception as error:  # of any kind: it is the test's
            self.wrong.append(error)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in (self.loop, *self.threads):
            thread.join(harness.COMMAND_SECONDS)
        assert self.wrong == []


@contextlib.contextmanager
def serving(network, family, answer):
    server = Server(network, family, answer)
    try:
        yield server
    finally:
        server.close()


def both_ways(size):
    def answer(connection):
        stream = int.from_bytes(receive(connection, 8), "little")

        def send():
            for block in blocks(stream, size):
                connection.sendall(block)
            connection.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        for place, block in enumerate(blocks(stream, size)):
            assert receive(connection, len(block)) == block, f"stream {stream} in its MiB {place}"
        assert connection.recv(1) == b""
        sender.join(harness.COMMAND_SECONDS)
    return answer


def loaded(kata, network, probe, kind, family, first, second):
    """Runs the guest's program, the load without the pod's start and end; returns what it said and its seconds."""
    with kata.container(flags=(*network.flags, *probe)) as identity:
        began = time.monotonic()
        result = kata.exec(identity, "/probe", kind, ENDS[family], str(PORT), str(first), str(second),
                           timeout=10 * harness.COMMAND_SECONDS)
        seconds = time.monotonic() - began
    assert result.code == 0, result
    return result.out.decode(), seconds


@pytest.mark.parametrize("family, mtu", [(4, 1500), (6, 1400), (4, 9000)])
def test_streams_side_by_side_both_ways(kata, probe, family, mtu):
    size = TOTAL_MIB * MIB // STREAMS
    with network_of(kata, mtu) as network, serving(network, family, both_ways(size)) as server:
        _, seconds = loaded(kata, network, probe, "streams", family, STREAMS, size)

    assert server.count == STREAMS
    print(f"{STREAMS} streams, {TOTAL_MIB} MiB each way, IPv{family}, MTU {mtu}: {seconds:.1f} s, "
          f"{2 * TOTAL_MIB * MIB / 1e6 / seconds:.0f} MB/s in sum")


def echo_once(connection):
    connection.sendall(receive(connection, 8))


def test_many_short_connections(kata, probe):
    with network_of(kata, 1500) as network, serving(network, 4, echo_once) as server:
        _, seconds = loaded(kata, network, probe, "connections", 4, CONNECTIONS, WORKERS)

    assert server.count == CONNECTIONS // WORKERS * WORKERS
    print(f"{CONNECTIONS} connections, {WORKERS} at once: {seconds:.1f} s, {1000 * seconds / CONNECTIONS:.1f} ms each")


@pytest.mark.parametrize("family", [4, 6])
def test_datagrams_of_all_sizes(kata, probe, family):
    with network_of(kata, 1500) as network, network.listen(ENDS[family], PORT, socket.SOCK_DGRAM) as listener:
        def echo():
            with contextlib.suppress(OSError):
                while True:
                    data, peer = listener.recvfrom(1 << 16)
                    if not peer:
                        return
                    listener.sendto(data, peer)
        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        again, seconds = loaded(kata, network, probe, "datagrams", family, DATAGRAMS, DATAGRAM_BYTES)
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(harness.COMMAND_SECONDS)

    print(f"{DATAGRAMS} datagrams and echoes, IPv{family}: {seconds:.1f} s, {again.strip()} sent again")
