# SPDX-License-Identifier: Apache-2.0
"""Networks that callers rarely leave: they work, or one line says what is wrong with which part; nothing stays."""
from test_network import needs_macvtap, network, run  # noqa: F401  (a fixture)


def index_of(network, link):  # noqa: F811
    return int(run("ip", "-n", network.pod, "-o", "link", "show", link).split(":")[0])


def pings(kata, network, address="10.88.0.1"):  # noqa: F811
    return kata.run("ping", "-c", "1", "-W", "60", address, flags=network.flags).code == 0


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
