# SPDX-License-Identifier: Apache-2.0
"""Networks that callers rarely leave: they work, or one line says what is wrong with which part; nothing stays."""
import contextlib
import subprocess

import pytest

import harness
from changed_installation import one_line
from test_network import beside_runc, interfaces_of, needs_macvtap, network, run  # noqa: F401  (a fixture)

ROUTES_MAX = 4096
PLACES = 4  # pcie_root_port


def index_of(network, link):  # noqa: F811
    return int(run("ip", "-n", network.pod, "-o", "link", "show", link).split(":")[0])


def add_routes(network, count):  # noqa: F811
    lines = "".join(f"route add 100.64.{i // 256}.{i % 256}/32 via 10.88.0.1\n" for i in range(count))
    subprocess.run(["ip", "-n", network.pod, "-batch", "-"], input=lines, text=True, check=True)


def pings(kata, network, address="10.88.0.1"):  # noqa: F811
    return kata.run("ping", "-c", "1", "-W", "60", address, flags=network.flags).code == 0


def test_three_hundred_routes(kata, network):  # noqa: F811
    add_routes(network, 300)

    here, there = beside_runc(kata, network, "sh", "-c", "ip route | sort | sha256sum; ip route | wc -l")

    assert here.out == there.out and here.out.endswith(b"301\n"), (here, there)


def test_as_many_routes_as_there_may_be(kata, network):  # noqa: F811
    add_routes(network, ROUTES_MAX)

    script = "ip route | wc -l; ping -c 1 -W 60 10.88.0.1 >/dev/null && echo reached"
    result = kata.run("sh", "-c", script, flags=network.flags)

    assert result.out.decode().split() == [str(ROUTES_MAX + 1), "reached"], result


def test_more_routes_than_there_may_be(kata, network):  # noqa: F811
    add_routes(network, ROUTES_MAX + 1)

    result = kata.run("true", flags=network.flags)

    assert result.code != 0
    one_line(result.err, network.path, f"more than {ROUTES_MAX} routes")


def test_routes_with_several_next_hops_and_gateways_of_the_other_family(kata, network):  # noqa: F811
    network.make(index=1)
    run("ip", "-n", network.pod, "route", "add", "192.0.2.0/24", "nexthop", "via", "10.88.0.1", "weight", "3",
        "nexthop", "via", "10.88.1.1")
    run("ip", "-n", network.pod, "-6", "route", "add", "2001:db8::/32", "nexthop", "via", "fd88:0::1", "nexthop", "via",
        "fd88:1::1", "weight", "2")
    run("ip", "-n", network.pod, "route", "add", "198.51.100.0/24", "via", "inet6", "fd88:1::1", "dev", "eth1")
    run("ip", "-n", network.peer, "addr", "add", "198.51.100.1/32", "dev", "lo")
    # The image's ip does not show them: the host's own does.
    network.flags += ("--mount", "type=bind,src=/usr,dst=/usr,options=rbind:ro")
    script = ("ln -s usr/lib /lib; ln -s usr/lib64 /lib64; "
              "for words in '-4 route show 192.0.2.0/24' '-4 route show 198.51.100.0/24' '-6 route show 2001:db8::/32'; "
              "do /usr/bin/ip $words | sed 's/ pref medium//; s/ proto static//; s/ *$//'; done; "
              "ping -c 1 -W 60 198.51.100.1 >/dev/null && echo reached")

    here, there = beside_runc(kata, network, "sh", "-c", script)

    assert here.out == there.out, (here, there)
    assert here.out.count(b"nexthop via") == 4 and b"via inet6 fd88:1::1" in here.out, here
    assert here.out.endswith(b"reached\n"), here


def test_an_interface_without_an_address(kata, network):  # noqa: F811
    run("ip", "-n", network.pod, "addr", "flush", "dev", "eth0")

    script = ("ip -o link show dev eth0 | grep -o ',UP[,>]' | tr -d ',>'; ip addr show dev eth0 | grep inet; "
              "cat /sys/class/net/eth0/address")
    here, there = beside_runc(kata, network, "sh", "-c", script)

    assert here.out == there.out and here.out.startswith(b"UP\n"), (here, there)


def test_a_taps_name_that_is_taken(kata, network):  # noqa: F811
    name = f"kata{index_of(network, 'eth0')}"
    run("ip", "-n", network.pod, "link", "add", name, "type", "veth", "peer", "name", "taken")
    try:
        assert pings(kata, network)
    finally:
        run("ip", "-n", network.pod, "link", "del", name)


def test_a_macvtap_of_another_namespace_is_not_the_pods_tap(kata, network):  # noqa: F811
    """A macvtap's device is /dev/tapN, whose N other namespaces give to interfaces of theirs."""
    needs_macvtap(network)
    run("ip", "-n", network.peer, "link", "add", "wire0", "index", "900", "type", "veth", "peer", "name", "wire1",
        "index", "901")
    first = index_of(network, "eth0") + 1  # what the kernel would count on to
    for number in range(first, first + 8):
        run("ip", "-n", network.peer, "link", "add", "link", "wire0", "name", f"other{number}", "index", number,
            "type", "macvtap", "mode", "bridge")

    assert pings(kata, network)


@pytest.mark.parametrize("path", ["/etc/hostname", "/proc/self/ns/uts", "/run"])
def test_what_is_no_network_namespace(kata, path):
    result = kata.run("true", flags=("--with-ns", f"network:{path}"))

    assert result.code != 0
    one_line(result.err, f'opening network namespace "{path}": it is none')


def test_a_namespace_that_goes_while_its_pod_runs(kata, network):  # noqa: F811
    """Its name goes; the machine keeps it, and the interfaces in it."""
    with kata.container(flags=network.flags) as identity:
        run("ip", "netns", "del", network.pod)
        for _ in range(2):
            assert kata.exec(identity, "ping", "-c", "1", "-W", "60", "10.88.0.1").code == 0
        run("ip", "netns", "add", network.pod)
        again = kata.run("ls", "/sys/class/net", flags=network.flags)
        assert again.out == b"lo\n", again
    # The pair of veth went with the first one.
    harness.wait_for(lambda: "peer0" not in run("ip", "-n", network.peer, "link"), "the namespace to go")
    network.make_links()


def test_what_stands_in_for_an_interface_that_went(kata, network):  # noqa: F811
    """A card of the machine's start cannot be unplugged. Neither it nor its tap is an interface of the pod."""
    with kata.container(flags=network.flags) as identity:
        run("ip", "-n", network.pod, "link", "del", "eth0")
        harness.wait_for(lambda: "eth0" not in interfaces_of(kata, identity), "the interface to go")
        network.make(index=1)
        ping = ("ping", "-c", "1", "-W", "1", "10.88.1.1")
        harness.wait_for(lambda: kata.exec(identity, *ping).code == 0, "another one")
        run("ip", "-n", network.pod, "addr", "add", "10.88.1.9/24", "dev", "eth1")
        harness.wait_for(lambda: b"10.88.1.9/24" in kata.exec(identity, "ip", "addr").out, "its address")
        shown = interfaces_of(kata, identity)
    with contextlib.suppress(subprocess.CalledProcessError):
        run("ip", "-n", network.pod, "link", "del", "eth1")
    network.make_links()

    assert sorted(name.startswith("kata") for name in shown) == [False, True] and "eth1" in shown, shown


def test_what_cannot_be_carried_keeps_nothing_else_away(kata, network):  # noqa: F811
    """While a pod runs: a tunnel, and more interfaces than the machine has places for."""
    with kata.container(flags=network.flags) as identity:
        run("ip", "-n", network.pod, "tuntap", "add", "tunnel", "mode", "tun")
        run("ip", "-n", network.pod, "link", "set", "tunnel", "up")
        run("ip", "-n", network.pod, "addr", "add", "10.88.0.8/24", "dev", "eth0")
        harness.wait_for(lambda: b"10.88.0.8/24" in kata.exec(identity, "ip", "addr").out, "an address beside a tunnel")
        run("ip", "-n", network.pod, "link", "del", "tunnel")

        for index in range(1, PLACES + 2):
            network.make(index=index)
        harness.wait_for(lambda: len(interfaces_of(kata, identity)) == PLACES + 1, "as many as there are places for")
        run("ip", "-n", network.pod, "addr", "add", "10.88.0.9/24", "dev", "eth0")
        harness.wait_for(lambda: b"10.88.0.9/24" in kata.exec(identity, "ip", "addr").out, "an address beside too many")
        said = f'plugging in interface \\"eth{PLACES + 1}\\"'
        harness.wait_for(lambda: said in harness.read(kata.log), "a word of the one that has no place")

        run("ip", "-n", network.pod, "link", "del", "eth1")
        ping = ("ping", "-c", "1", "-W", "1", f"10.88.{PLACES + 1}.1")
        harness.wait_for(lambda: kata.exec(identity, *ping).code == 0, "the one that had no place")
        for index in range(2, PLACES + 2):
            run("ip", "-n", network.pod, "link", "del", f"eth{index}")
