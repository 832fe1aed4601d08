# SPDX-License-Identifier: Apache-2.0
"""The other ways of joining a pod's interfaces to its machine (internetworking_model): macvtap, and none."""
import pytest

import test_network
from test_network import Network, run

CASES = [test_network.test_interfaces_addresses_and_routes_are_those_of_runc, test_network.test_the_pod_is_reached,
         test_network.test_data_is_whole_both_ways, test_network.test_what_is_larger_than_a_frame,
         test_network.test_a_killed_shim_leaves_the_interface_as_it_was,
         test_network.test_a_namespace_serves_one_machine,
         test_network.test_what_comes_and_goes_while_a_container_runs]


@pytest.fixture
def model(kata):
    """Makes a network whose pods have the model of that name."""
    path = kata.directory / "model.toml"
    made = Network(kata.token)
    made.remove()

    def of(name):
        path.write_text(f'[runtime]\ninternetworking_model = "{name}"\n', encoding="utf-8")
        made.make()
        made.flags += ("--runtime-config-path", path)
        return made
    try:
        yield of
        assert made.of_the_host() == []
    finally:
        made.remove()
        path.unlink(missing_ok=True)


@pytest.fixture
def macvtap(model):
    network = model("macvtap")
    test_network.needs_macvtap(network)
    return network


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removeprefix("test_"))
def test_with_a_macvtap(kata, macvtap, case):
    case(kata, macvtap)


@pytest.mark.parametrize("address", ["10.88.0.1", "fd88:0::1"])
def test_a_peer_is_reached_by_a_macvtap(kata, macvtap, address):
    assert kata.run("ping", "-c", "3", "-W", "60", address, flags=macvtap.flags).code == 0


def test_a_macvtap_is_what_the_machine_has(kata, macvtap):
    with kata.container(flags=macvtap.flags):
        shown = run("ip", "-n", macvtap.pod, "-d", "link")
        assert run("tc", "-n", macvtap.pod, "qdisc", "show", "dev", "eth0", "ingress") == ""

    assert "@eth0" in shown and "macvtap mode passthru" in shown, shown


def test_an_interface_that_has_a_macvlan_is_named(kata, macvtap):
    run("ip", "-n", macvtap.pod, "link", "add", "link", "eth0", "name", "child", "type", "macvlan", "mode", "bridge")

    result = kata.run("true", flags=macvtap.flags)

    assert result.code != 0
    assert 'interface "eth0": making macvtap' in result.err and "macvlan" in result.err, result


def test_none_is_loopback_alone(kata, model):
    network = model("none")

    with kata.container(flags=network.flags) as identity:
        assert network.of_the_host() == []
        assert kata.exec(identity, "ls", "/sys/class/net").out == b"lo\n"
        assert kata.exec(identity, "ping", "-c", "1", "-W", "60", "127.0.0.1").code == 0
