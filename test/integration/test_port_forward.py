# SPDX-License-Identifier: Apache-2.0
"""The loopback of a pod's namespace on the host leads to the guest's: as containerd and CRI-O forward ports."""
import contextlib
import hashlib
import os
import socket
import threading

import pytest

import harness
from test_network import MIB, network, setns  # noqa: F401  (network is a fixture)
from test_neighbours import annotations

WEB = "mkdir /www; echo hello >/www/index.html; exec httpd -f -p {} -h /www"


@contextlib.contextmanager
def in_pod(network):
    with open("/proc/thread-self/ns/net", "rb") as mine, open(network.path, "rb") as pod:
        setns(pod.fileno())
        try:
            yield
        finally:
            setns(mine.fileno())


def dial(network, port, address="127.0.0.1"):
    """As an engine does it: a socket made in the pod's namespace goes on outside of it."""
    with in_pod(network):
        return socket.create_connection((address, port), harness.COMMAND_SECONDS)


def ask(network, port, address="127.0.0.1"):
    with contextlib.suppress(ConnectionError, socket.timeout), dial(network, port, address) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.makefile("rb").read()
    return b""


def refuses(network, port=8080):
    try:
        dial(network, port).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("listens", ["127.0.0.1:8080", "[::1]:8080", "8080", "10.88.0.2:8080"])
def test_a_server_is_reached_where_it_listens(kata, network, listens):  # noqa: F811
    with kata.container("sh", "-c", WEB.format(listens), flags=network.flags) as identity:
        harness.wait_for(lambda: b":8080" in kata.exec(identity, "netstat", "-ltn").out, "the server")
        for address in ("127.0.0.1", "::1"):
            # One that listens at the pod's address alone is not on loopback, under runc neither.
            assert ask(network, 8080, address).endswith(b"hello\n") == (not listens.startswith("10.")), address
        assert ask(network, 8081) == b""


def test_every_container_of_a_pod_is_reached(kata, network):  # noqa: F811
    pod = kata.new_id("pod")
    with kata.container(identity=pod, flags=(*annotations("sandbox", pod), *network.flags)), \
            kata.container("sh", "-c", WEB.format("127.0.0.1:8081"), flags=annotations("container", pod)), \
            kata.container("sh", "-c", WEB.format("127.0.0.1:8082"), flags=annotations("container", pod)):
        for port in (8081, 8082):
            harness.wait_for(lambda port=port: ask(network, port).endswith(b"hello\n"), f"port {port}")


def test_data_is_whole_both_ways(kata, network):  # noqa: F811
    data = os.urandom(MIB) * 8
    with kata.container("nc", "-ll", "-p", "7", "-e", "cat", flags=network.flags) as identity:
        harness.wait_for(lambda: b":7 " in kata.exec(identity, "netstat", "-ltn").out, "the server")
        for _ in range(2):
            with dial(network, 7) as connection:
                sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
                sender.start()
                digest = hashlib.sha256()
                while chunk := connection.recv(MIB):
                    digest.update(chunk)
                sender.join(harness.COMMAND_SECONDS)
            assert digest.hexdigest() == hashlib.sha256(data).hexdigest()


def test_many_connections_that_nobody_ends(kata, network):  # noqa: F811
    with kata.container("nc", "-ll", "-p", "7", "-e", "cat", flags=network.flags) as identity:
        harness.wait_for(lambda: b":7 " in kata.exec(identity, "netstat", "-ltn").out, "the server")
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                connection = stack.enter_context(dial(network, 7))
                connection.sendall(b"x")
                assert connection.recv(1) == b"x"
        # The clients have gone without a word, so have their peers.
        harness.wait_for(lambda: b"ESTABLISHED" not in kata.exec(identity, "netstat", "-tn").out, "the guest's ends to go")


def test_it_ends_with_the_pod(kata, network):  # noqa: F811
    with kata.container("sh", "-c", WEB.format("8080"), flags=network.flags):
        harness.wait_for(lambda: ask(network, 8080), "the server")
    with pytest.raises(ConnectionRefusedError):
        dial(network, 8080)


def test_a_killed_shim_gives_the_loopback_back(kata, network):  # noqa: F811
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000", flags=network.flags)
    harness.wait_for(lambda: not refuses(network), "the loopback to be taken")
    harness.kill(kata.shim_pids(identity))
    harness.wait_for(lambda: refuses(network), "the loopback to be as it was")
    kata.remove(identity)
    harness.wait_for(lambda: network.of_the_host() == [], "the interface to be as it was")


def test_it_can_be_off(kata, network):  # noqa: F811
    flags = (*network.flags, *kata.configured("no-forward", "[runtime]\nport_forward = false\n"))
    with kata.container("sh", "-c", WEB.format("8080"), flags=flags) as identity:
        harness.wait_for(lambda: b":8080" in kata.exec(identity, "netstat", "-ltn").out, "the server")
        assert refuses(network)
