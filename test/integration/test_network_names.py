# SPDX-License-Identifier: Apache-2.0
"""Names on Docker's own networks: its resolver listens at 127.0.0.11 of the pod's namespace, which is not the guest's."""
import contextlib
import socket
import struct
import threading

import pytest

import harness
from test_network import beside_runc, network, run, setns  # noqa: F401  (a fixture)

ADDRESS = "127.0.0.11"
TYPE_A = 1
BURST = 40


class Resolver:
    """Answers every question for an A with 192.0.2.7, by UDP and TCP."""

    def __init__(self, network):
        with open("/proc/thread-self/ns/net", "rb") as mine, open(network.path, "rb") as pod:
            setns(pod.fileno())
            try:
                self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            finally:
                setns(mine.fileno())
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for listener in (self.udp, self.tcp):
            listener.bind((ADDRESS, 53))
        self.tcp.listen(64)
        self.asked = []
        for loop in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=loop, daemon=True).start()

    def answer(self, question):
        self.asked.append(question)
        end = question.index(b"\0", 12) + 5
        (kind,) = struct.unpack_from(">H", question, end - 4)
        record = b"\xc0\x0c" + struct.pack(">HHIH4B", TYPE_A, 1, 60, 4, 192, 0, 2, 7) if kind == TYPE_A else b""
        return question[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if record else 0, 0, 0) + question[12:end] + record

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while (received := self.udp.recvfrom(4096))[0]:
                self.udp.sendto(self.answer(received[0]), received[1])

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                with connection, connection.makefile("rb") as stream:
                    while length := stream.read(2):
                        answer = self.answer(stream.read(struct.unpack(">H", length)[0]))
                        connection.sendall(struct.pack(">H", len(answer)) + answer)

    def close(self):
        for listener in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@pytest.fixture
def resolver(network):  # noqa: F811
    made = Resolver(network)
    yield made
    made.close()


def octal(data):
    return "".join(f"\\{byte:03o}" for byte in data)


QUESTION = struct.pack(">HHHHHH", 0x4B54, 0x0100, 1, 0, 0, 0) + b"\x03web\0" + struct.pack(">HH", TYPE_A, 1)


def test_names_are_asked_of_the_pods_resolver(kata, network, resolver):  # noqa: F811
    here, there = beside_runc(kata, network, "nslookup", "web", ADDRESS)

    assert b"192.0.2.7" in here.out, here
    assert here.out == there.out


def test_many_ask_at_once(kata, network, resolver):  # noqa: F811
    script = f"i=0; while [ $i -lt {BURST} ]; do nslookup web$i {ADDRESS} >/tmp/$i & i=$((i+1)); done; wait; cat /tmp/*"
    result = kata.run("sh", "-c", f"mkdir -p /tmp; {script}", flags=network.flags)

    assert result.out.count(b"192.0.2.7") == BURST, result


def test_by_tcp(kata, network, resolver):  # noqa: F811
    data = octal(struct.pack(">H", len(QUESTION)) + QUESTION)
    here, there = beside_runc(kata, network, "sh", "-c",
                              f"(printf '{data}'; sleep 1; printf '{data}'; sleep 2) | nc {ADDRESS} 53 | od -An -tx1")

    assert here.out.count(b"c0 00 02 07") + here.out.count(b"c0 00\n 02 07") >= 1, here
    assert here.out == there.out


def test_the_port_is_free_for_a_server_of_the_container(kata, network, resolver):  # noqa: F811
    script = (f"nslookup web {ADDRESS} >/dev/null && (nc -l -p 53 -e echo mine & sleep 1; "
              "nc -w 10 127.0.0.1 53 </dev/null)")
    result = kata.run("sh", "-c", script, flags=network.flags)

    assert result.out == b"mine\n", result


def test_a_resolver_that_comes_later_is_found(kata, network):  # noqa: F811
    with kata.container(flags=network.flags) as identity:
        assert kata.exec(identity, "sh", "-c", f"nc -w 5 {ADDRESS} 53 </dev/null").code != 0
        resolver = Resolver(network)  # noqa: F811
        try:
            network.make(index=1)
            harness.wait_for(lambda: b"192.0.2.7" in kata.exec(identity, "nslookup", "web", ADDRESS).out, "an answer")
            run("ip", "-n", network.pod, "link", "del", "eth1")
        finally:
            resolver.close()
        # Nobody answers any more, and nothing is stuck.
        assert b"192.0.2.7" not in kata.exec(identity, "timeout", "5", "nslookup", "web", ADDRESS).out
