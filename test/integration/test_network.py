# SPDX-License-Identifier: Apache-2.0
"""The network of a pod: what its caller has left in its network namespace is what its containers have, as under runc."""
import contextlib
import hashlib
import os
import socket
import subprocess
import threading
import time

import pytest

import harness
from changed_installation import one_line
from failures import told
from test_neighbours import annotations

RUNC = "io.containerd.runc.v2"
MIB = 1 << 20


def run(*words, check=True):
    return subprocess.run([str(word) for word in words], check=check, stdout=subprocess.PIPE, text=True).stdout


class Network:
    """A pod's namespace and its peer's, joined by a pair of veth."""

    def __init__(self, token):
        self.pod, self.peer = f"{token}-pod", f"{token}-peer"
        self.path = f"/run/netns/{self.pod}"
        self.flags = ("--with-ns", f"network:{self.path}")

    def make(self, mtu=1500, index=0):
        if index == 0:
            for name in (self.pod, self.peer):
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
        self.make_links(mtu, index)

    def make_links(self, mtu=1500, index=0):
        ours, theirs = f"eth{index}", f"peer{index}"
        run("ip", "-n", self.pod, "link", "add", ours, "mtu", mtu, "type", "veth", "peer", "name", theirs, "mtu", mtu,
            "netns", self.peer)
        for name, link, host in ((self.pod, ours, 2), (self.peer, theirs, 1)):
            run("ip", "-n", name, "addr", "add", f"10.88.{index}.{host}/24", "dev", link)
            run("ip", "-n", name, "addr", "add", f"fd88:{index}::{host}/64", "dev", link, "nodad")
            run("ip", "-n", name, "link", "set", link, "up")

    def remove(self):
        for name in (self.pod, self.peer):
            if os.path.exists(f"/run/netns/{name}"):
                run("ip", "netns", "del", name)

    def of_the_host(self):
        """What a machine may leave here: nothing."""
        return [line for line in run("ip", "-n", self.pod, "-o", "link").splitlines() if "kata" in line] + \
            run("tc", "-n", self.pod, "qdisc", "show", "dev", "eth0", "ingress").splitlines()

    @contextlib.contextmanager
    def in_peer(self):
        """The calling thread in the peer's namespace: sockets made there stay there."""
        with open("/proc/thread-self/ns/net", "rb") as mine, open(f"/run/netns/{self.peer}", "rb") as peer:
            setns(peer.fileno())
            try:
                yield
            finally:
                setns(mine.fileno())

    def listen(self, address, port, kind=socket.SOCK_STREAM):
        with self.in_peer():
            listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
        if kind == socket.SOCK_STREAM:
            listener.listen(64)
        return listener


def setns(descriptor):
    import ctypes  # pylint: disable=import-outside-toplevel
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@pytest.fixture
def network(kata):
    made = Network(kata.token)
    made.remove()
    made.make()
    try:
        yield made
        assert made.of_the_host() == []
    finally:
        made.remove()


def serve(listener, answer):
    """A thread that answers each connection of `listener` until that is closed."""
    def loop():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    answer(connection)
    threading.Thread(target=loop, daemon=True).start()


def beside_runc(kata, network, *command):
    """The same program in the same namespace, here and under runc."""
    here = kata.run(*command, flags=network.flags)
    other = kata.sibling(kata.namespace)
    other.runtime = RUNC
    there = other.run(*command, flags=network.flags, identity=kata.new_id("r"))
    return here, there


def test_interfaces_addresses_and_routes_are_those_of_runc(kata, network):
    run("ip", "-n", network.pod, "link", "set", "eth0", "mtu", "1400")
    run("ip", "-n", network.peer, "link", "set", "peer0", "mtu", "1400")
    run("ip", "-n", network.pod, "route", "add", "default", "via", "10.88.0.1")
    run("ip", "-n", network.pod, "route", "add", "192.0.2.0/24", "dev", "eth0", "src", "10.88.0.2")
    run("ip", "-n", network.pod, "route", "add", "198.51.100.0/24", "via", "10.88.0.1", "metric", "50")
    run("ip", "-n", network.pod, "-6", "route", "add", "default", "via", "fd88:0::1")
    run("ip", "-n", network.pod, "neigh", "add", "10.88.0.77", "lladdr", "02:00:00:00:00:77", "dev", "eth0", "nud", "permanent")
    script = ("ip -o addr show dev eth0 | sed 's/ *\\\\.*//; s/^[0-9]*: //; s/ flags 02//' | sort; ip route | sort; "
              "ip -6 route | grep -v 'dev lo' | sed 's/ expires.*//; s/ *$//; s/ error.*//' | sort; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; "
              "ip neigh show nud permanent; ls /sys/class/net")
    # The host's own links say "tentative" until nobody else has answered to their address.
    harness.wait_for(lambda: "tentative" not in run("ip", "-n", network.pod, "addr"), "the addresses to be settled")
    here, there = beside_runc(kata, network, "sh", "-c", script)

    assert "10.88.0.2/24" in there.out.decode()
    assert here.out.decode() == there.out.decode(), here
    assert here.code == 0


@pytest.mark.parametrize("address", ["10.88.0.1", "fd88:0::1"])
def test_a_peer_is_reached(kata, network, address):
    assert kata.run("ping", "-c", "3", "-W", "60", address, flags=network.flags).code == 0


def test_the_pod_is_reached(kata, network):
    with kata.container("sh", "-c", "mkdir /www; echo hello >/www/index.html; exec httpd -f -p 80 -h /www", flags=network.flags):
        def fetched():
            with network.in_peer(), contextlib.suppress(OSError):
                with socket.create_connection(("10.88.0.2", 80), 5) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    return connection.makefile("rb").read()
            return b""
        text = harness.wait_for(fetched, "the pod's answer")
        here = network.of_the_host()

    assert text.endswith(b"hello\n"), text
    assert here != []


def test_data_is_whole_both_ways(kata, network):
    data = os.urandom(MIB) * 32
    received = hashlib.sha256()
    done = threading.Event()

    def take(connection):
        while chunk := connection.recv(MIB):
            received.update(chunk)
        done.set()
    with network.listen("10.88.0.1", 4001) as source, network.listen("10.88.0.1", 4002) as sink:
        serve(source, lambda connection: connection.sendall(data))
        serve(sink, take)
        result = kata.run("sh", "-c", "nc 10.88.0.1 4001 </dev/null >/data; sha256sum </data; nc 10.88.0.1 4002 </data",
                          flags=network.flags)
        assert done.wait(harness.COMMAND_SECONDS)

    assert result.out.decode().split()[0] == hashlib.sha256(data).hexdigest(), result
    assert received.hexdigest() == hashlib.sha256(data).hexdigest()


def answer_names(listener):
    """A name server's thread: each name is at 192.0.2.7."""
    with contextlib.suppress(OSError):
        while True:
            question, peer = listener.recvfrom(512)
            if not question:
                return
            listener.sendto(question[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + question[12:] +
                            b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07", peer)


def test_datagrams(kata, network):
    with network.listen("10.88.0.1", 53, socket.SOCK_DGRAM) as listener:
        thread = threading.Thread(target=answer_names, args=(listener,), daemon=True)
        thread.start()
        result = kata.run("nslookup", "-type=a", "name.test", "10.88.0.1", flags=network.flags)
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(harness.COMMAND_SECONDS)

    assert b"192.0.2.7" in result.out, result


def test_what_is_larger_than_a_frame(kata, network):
    assert kata.run("ping", "-c", "3", "-s", "4000", "-W", "60", "10.88.0.1", flags=network.flags).code == 0


def test_two_interfaces(kata, network):
    network.make(index=1)

    result = kata.run("sh", "-c", "ls /sys/class/net; ping -c 1 -W 60 10.88.0.1 && ping -c 1 -W 60 10.88.1.1", flags=network.flags)

    assert result.code == 0 and result.out.decode().split()[:3] == ["eth0", "eth1", "lo"], result


def test_a_killed_shim_leaves_the_interface_as_it_was(kata, network):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000", flags=network.flags)
    assert network.of_the_host() != []
    harness.kill(kata.shim_pids(identity))
    harness.wait_for(lambda: network.of_the_host() == [], "the interface to be as it was")
    kata.remove(identity)

    assert kata.run("ping", "-c", "1", "-W", "60", "10.88.0.1", flags=network.flags).code == 0


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.4, 0.8])
def test_a_shim_killed_in_the_middle_of_a_start_leaves_nothing(kata, network, seconds):
    identity = kata.new_id()
    with subprocess.Popen(kata.run_command("sleep", "1000", flags=network.flags, identity=identity), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as client:
        harness.wait_for(lambda: kata.shim_pids(identity), "the shim, or its start")
        time.sleep(seconds)  # somewhere in its work; what it leaves there must go
        harness.kill(kata.shim_pids(identity))
        try:
            client.wait(harness.COMMAND_SECONDS)
        finally:
            client.kill()
    kata.remove(identity)

    harness.wait_for(lambda: network.of_the_host() == [], "the interface to be as it was")


def interfaces_of(kata, identity):
    return set(kata.exec(identity, "ls", "/sys/class/net").out.decode().split()) - {"lo"}


def test_what_comes_and_goes_while_a_container_runs(kata, network):
    with kata.container(flags=network.flags) as identity:
        network.make(index=1)
        run("ip", "-n", network.pod, "route", "add", "192.0.2.0/24", "via", "10.88.1.1")
        harness.wait_for(lambda: interfaces_of(kata, identity) == {"eth0", "eth1"}, "the second interface")
        for address in ("10.88.0.1", "10.88.1.1", "fd88:1::1"):
            assert kata.exec(identity, "ping", "-c", "1", "-W", "60", address).code == 0, address
        harness.wait_for(lambda: b"192.0.2.0/24 via 10.88.1.1" in kata.exec(identity, "ip", "route").out, "its route")

        run("ip", "-n", network.pod, "addr", "add", "10.88.1.9/24", "dev", "eth1")
        harness.wait_for(lambda: b"10.88.1.9/24" in kata.exec(identity, "ip", "addr").out, "its address")
        run("ip", "-n", network.pod, "link", "set", "eth0", "down")
        harness.wait_for(lambda: b"UP" not in kata.exec(identity, "ip", "link", "show", "eth0").out, "it to go down")
        run("ip", "-n", network.pod, "link", "set", "eth0", "up")
        harness.wait_for(lambda: kata.exec(identity, "ping", "-c", "1", "-W", "1", "10.88.0.1").code == 0, "it to go up")

        for _ in range(3):
            run("ip", "-n", network.pod, "link", "del", "eth1")
            harness.wait_for(lambda: interfaces_of(kata, identity) == {"eth0"}, "the second interface to go")
            harness.wait_for(lambda: "kata3" not in run("ip", "-n", network.pod, "link"), "its tap to go")
            network.make(index=1)
            harness.wait_for(lambda: kata.exec(identity, "ping", "-c", "1", "-W", "1", "10.88.1.1").code == 0,
                             "the second interface")
        # Another hardware address is another card.
        for words in ("down", "address 02:00:00:00:77:01", "up"):
            run("ip", "-n", network.pod, "link", "set", "eth1", *words.split())
        harness.wait_for(lambda: kata.exec(identity, "ping", "-c", "1", "-W", "1", "10.88.1.1").code == 0, "another card")
        assert b"02:00:00:00:77:01" in kata.exec(identity, "ip", "link", "show", "eth1").out
        run("ip", "-n", network.pod, "link", "del", "eth1")


def test_what_came_is_there_before_the_next_container_starts(kata, network):
    pod = kata.new_id("pod")
    with kata.container(identity=pod, flags=(*annotations("sandbox", pod), *network.flags)):
        network.make(index=1)
        result = kata.run("ip", "-o", "addr", "show", "dev", "eth1", flags=annotations("container", pod))
        assert b"10.88.1.2/24" in result.out, result
        assert b"fd88:1::2/64" in result.out, result


def needs_macvtap(network):
    probe = ["ip", "-n", network.peer, "link", "add", "link", "peer0", "name", "probe", "type", "macvtap"]
    if subprocess.run(probe, check=False).returncode != 0:
        pytest.skip("the host's kernel has no macvtap")
    run("ip", "-n", network.peer, "link", "del", "probe")


def test_a_namespace_serves_one_machine(kata, network):
    with kata.container(flags=network.flags) as identity:
        second = kata.run("true", flags=network.flags)
        first = kata.exec(identity, "ping", "-c", "1", "-W", "60", "10.88.0.1")

    assert second.code != 0, second
    one_line(second.err, network.path,
             f'interface "eth0": its network namespace serves the machine of sandbox "{identity}')
    told("The pod's network namespace has a machine already", second.err)
    assert first.code == 0, first


def test_a_namespace_that_is_not_there(kata):
    result = kata.run("true", flags=("--with-ns", "network:/run/netns/vanished"))

    assert result.code != 0
    told("The pod's network namespace is not there", result.err)


def test_what_cannot_be_carried_is_named(kata, network):
    run("ip", "-n", network.pod, "tuntap", "add", "tunnel", "mode", "tun")
    run("ip", "-n", network.pod, "link", "set", "tunnel", "up")

    result = kata.run("true", flags=network.flags)

    assert result.code != 0
    assert 'interface "tunnel" (tun): only Ethernet can be carried into a machine' in result.err
    told("An interface that no machine can have", result.err)


def test_no_network_without_interfaces(kata):
    assert kata.run("ls", "/sys/class/net").out == b"lo\n"
