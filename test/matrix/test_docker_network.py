# SPDX-License-Identifier: Apache-2.0
"""Docker's networks, which it makes once the machine runs: in the create's hook before 28, between create and start since."""
import contextlib

import harness

PUBLISHED = 8080
SERVED = 80
SERVER = ("nc", "-ll", "-p", str(SERVED), "-e", "hostname")


def address_of(docker, identity, network="bridge"):
    result = docker.docker("inspect", "--format", f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}',
                           identity)
    assert result.code == 0, result.err
    return result.out.decode().strip()


@contextlib.contextmanager
def network_of(docker, name):
    assert docker.docker("network", "create", name).code == 0
    try:
        yield name
    finally:
        docker.docker("network", "rm", name)


def test_the_default_bridge(networked):
    result = networked.run("sh", "-c", "ip -o addr show dev eth0; ip route; ping -c 1 -W 60 $(ip route | awk '/default/ {print $3}')")

    assert result.code == 0, result
    assert b"inet 172." in result.out


def test_containers_reach_each_other_and_a_published_port(networked):
    flags = ("--publish", f"{PUBLISHED}:{SERVED}", "--hostname", "server")
    with networked.container(*SERVER, flags=flags) as server:
        address = address_of(networked, server)
        asked = networked.run("sh", "-c", f"nc -w 60 {address} {SERVED} </dev/null")
        assert asked.out == b"server\n", asked
        gateway = networked.docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge").out
        for place in ("127.0.0.1", gateway.decode().strip()):
            assert networked.on_node("busybox", "nc", "-w", "60", place, PUBLISHED) == b"server\n", place


def test_a_network_that_is_connected_and_disconnected(networked):
    with network_of(networked, "second") as second, networked.container() as identity:
        assert networked.docker("network", "connect", second, identity).code == 0
        harness.wait_for(lambda: b"eth1" in networked.exec(identity, "ls", "/sys/class/net").out, "the second interface")
        with networked.container(*SERVER, flags=("--network", second, "--hostname", "other")) as other:
            address = address_of(networked, other, second)
            harness.wait_for(lambda: networked.exec(identity, "sh", "-c", f"nc -w 5 {address} {SERVED} </dev/null").out
                             == b"other\n", "the other container's answer")
        assert networked.docker("network", "disconnect", second, identity).code == 0
        harness.wait_for(lambda: b"eth1" not in networked.exec(identity, "ls", "/sys/class/net").out, "it to go")


def test_names_on_a_network_of_its_own(networked):
    with network_of(networked, "named") as named, \
            networked.container(*SERVER, flags=("--network", named, "--name", "server", "--network-alias", "www",
                                                "--hostname", "server")):
        for name in ("server", "www"):
            asked = networked.run("sh", "-c", f"nc -w 60 {name} {SERVED} </dev/null", flags=("--network", named))
            assert asked.out == b"server\n", asked
        with networked.container() as identity:
            assert networked.docker("network", "connect", named, identity).code == 0
            harness.wait_for(lambda: networked.exec(identity, "sh", "-c", f"nc -w 5 www {SERVED} </dev/null").out
                             == b"server\n", "an answer by its name")
