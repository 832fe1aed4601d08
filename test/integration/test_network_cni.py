# SPDX-License-Identifier: Apache-2.0
"""Pods whose network the CNI plugins make, as a caller of CRI runs them: bridge, host-local, portmap, loopback, macvlan…"""
import contextlib
import json
import os
import subprocess

import pytest

import harness
from test_network import RUNC, run

PLUGINS = "/usr/lib/cni"
PUBLISHED = 8080  # of the node
SERVED = 80  # of the pod
SERVER = f"exec nc -ll -p {SERVED} -e hostname"
FAMILIES = {4: ("10.77.0", "10.77.0.0/24", "0.0.0.0/0"), 6: ("fd77::", "fd77::/64", "::/0")}


class Node:
    """A network namespace that plays the host, whose pods the plugins join to it."""

    def __init__(self, kata, families=(4, 6)):
        self.kata, self.name = kata, f"{kata.token}-node"
        self.ranges = [[{"subnet": FAMILIES[family][1]}] for family in families]
        self.routes = [{"dst": FAMILIES[family][2]} for family in families]
        self.pods = []

    def make(self):
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")

    def remove(self):
        for pod in list(self.pods):
            pod.remove()
        run("ip", "netns", "del", self.name)

    def addresses(self):
        return {"type": "host-local", "dataDir": str(self.kata.directory / "ipam"), "ranges": self.ranges,
                "routes": self.routes}

    def bridge(self, **more):
        return [{"type": "loopback"},
                {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": self.addresses(), **more},
                {"type": "portmap", "capabilities": {"portMappings": True}}]

    def run(self, *words, check=True):
        return run("ip", "netns", "exec", self.name, *words, check=check)

    def pod(self, plugins, ports=()):
        made = Pod(self, f"{self.kata.token}-{len(self.pods)}", plugins, ports)
        self.pods.append(made)
        made.add()
        return made


class Pod:
    def __init__(self, node, name, plugins, ports):
        self.node, self.name, self.plugins = node, name, plugins
        self.ports = [{"hostPort": outer, "containerPort": inner, "protocol": "tcp"} for outer, inner in ports]
        self.path = f"/run/netns/{name}"
        self.flags = ("--with-ns", f"network:{self.path}")
        self.result = None

    def call(self, command, plugin, before):
        config = {"cniVersion": "0.4.0", "name": "tests", **plugin}
        if plugin.get("capabilities"):
            config["runtimeConfig"] = {"portMappings": self.ports}
        if before is not None:
            config["prevResult"] = before
        environment = dict(os.environ, CNI_COMMAND=command, CNI_CONTAINERID=self.name, CNI_NETNS=self.path,
                           CNI_IFNAME="lo" if plugin["type"] == "loopback" else "eth0", CNI_PATH=PLUGINS)
        done = subprocess.run(["ip", "netns", "exec", self.node.name, f"{PLUGINS}/{plugin['type']}"], check=False,
                              input=json.dumps(config).encode(), env=environment, stdout=subprocess.PIPE)
        if done.returncode != 0 and b"operation not supported" in done.stdout:
            pytest.skip(f"the host's kernel has no {plugin['type']}")
        assert done.returncode == 0, done.stdout.decode()
        return json.loads(done.stdout) if done.stdout.strip() else None

    def add(self):
        run("ip", "netns", "add", self.name)
        for plugin in self.plugins:
            made = self.call("ADD", plugin, None if plugin["type"] == "loopback" else self.result)
            if plugin["type"] != "loopback":
                self.result = made

    def address(self, family=4):
        return next(ip["address"].split("/")[0] for ip in self.result["ips"] if ip["version"] == str(family))

    def links(self):
        """What the namespace has, as far as the plugins made it."""
        return run("ip", "-n", self.name, "-o", "link") + run("ip", "-n", self.name, "-o", "addr") + \
            run("tc", "-n", self.name, "qdisc")

    def remove(self):
        for plugin in reversed(self.plugins):
            self.call("DEL", plugin, self.result if plugin["type"] == "portmap" else None)
        assert "eth0" not in run("ip", "-n", self.name, "-o", "link")
        run("ip", "netns", "del", self.name)
        self.node.pods.remove(self)


@contextlib.contextmanager
def node_of(kata, families=(4, 6)):
    node = Node(kata, families)
    node.make()
    try:
        yield node
    finally:
        node.remove()


@pytest.fixture
def node(kata):
    with node_of(kata) as made:
        yield made


@contextlib.contextmanager
def serving(kata, pod):
    """A container of the pod that says its host name to each that connects."""
    # The node's own address of IPv6 cannot be used until nobody has answered to it for a second: a pod is faster.
    harness.wait_for(lambda: "tentative" not in pod.node.run("ip", "addr"), "the node's addresses to be settled")
    before = pod.links()
    with kata.container("sh", "-c", SERVER, identity=f"{pod.name}-s", flags=pod.flags) as identity:
        # Started is not serving yet; the server listens to both families.
        listens = f"until grep -q ':{SERVED:04X} .* 0A ' /proc/net/tcp6; do sleep 0.1; done"
        assert kata.exec(identity, "sh", "-c", listens).code == 0
        yield identity
    assert pod.links() == before


def asks(kata, identity, address, port=SERVED):
    result = kata.exec(identity, "sh", "-c", f"nc -w 60 {address} {port} </dev/null")
    assert result.code == 0, result.err
    return result.out.decode().strip()


def test_pods_of_a_bridge_reach_each_other(kata, node):
    runc = kata.sibling(kata.namespace)
    runc.runtime = RUNC
    one, two, plain = (node.pod(node.bridge()) for _ in range(3))
    with serving(kata, one) as here, serving(kata, two) as there, serving(runc, plain) as ordinary:
        for family in (4, 6):
            for pod in (two, plain):
                assert kata.exec(here, "ping", "-c", "1", "-W", "60", pod.address(family)).code == 0, family
                assert asks(kata, here, pod.address(family))
            assert asks(kata, there, one.address(family))
            assert asks(runc, ordinary, one.address(family))
            assert runc.exec(ordinary, "ping", "-c", "1", "-W", "60", one.address(family)).code == 0, family
            assert asks(runc, ordinary, two.address(family))


def test_the_node_and_its_pods_reach_each_other(kata, node):
    pod = node.pod(node.bridge())
    with serving(kata, pod) as identity:
        for family in (4, 6):
            node.run("busybox", "ping", "-c", "1", "-W", "60", pod.address(family))
            gateway = next(ip["gateway"] for ip in pod.result["ips"] if ip["version"] == str(family))
            assert kata.exec(identity, "ping", "-c", "1", "-W", "60", gateway).code == 0


def test_a_published_port(kata, node):
    server = node.pod(node.bridge(), ports=[(PUBLISHED, SERVED)])
    client = node.pod(node.bridge(hairpinMode=True))
    with serving(kata, server), serving(kata, client) as other:
        for address in ("10.77.0.1", "127.0.0.1"):
            said = node.run("busybox", "nc", "-w", "60", address, PUBLISHED)
            assert said.strip(), address
        assert asks(kata, other, "10.77.0.1", PUBLISHED)


def test_ipv6_alone(kata):
    with node_of(kata, [6]) as node:
        one, two = (node.pod(node.bridge()) for _ in range(2))
        with serving(kata, one) as here, serving(kata, two):
            assert asks(kata, here, two.address(6))
            shown = kata.exec(here, "ip", "-4", "addr", "show", "dev", "eth0").out
            assert b"inet " not in shown


@pytest.mark.parametrize("kind", [{"type": "macvlan", "mode": "bridge"}, {"type": "ipvlan", "mode": "l2"},
                                  {"type": "ptp"}, {"type": "vlan", "vlanId": 7}], ids=lambda kind: kind["type"])
def test_other_kinds_of_interface(kata, node, kind):
    """A pod beside an ordinary runc container, whose interfaces are of the same kind."""
    run("ip", "-n", node.name, "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
    for link in ("wire0", "wire1"):
        run("ip", "-n", node.name, "link", "set", link, "up")
    masters = ("wire0", "wire1") if kind["type"] == "vlan" else ("wire0", "wire0")
    runc = kata.sibling(kata.namespace)
    runc.runtime = RUNC
    ours, plain = (node.pod([{**kind, **({} if kind["type"] == "ptp" else {"master": master}), "ipam": node.addresses()}])
                   for master in masters)
    with serving(kata, ours) as here, serving(runc, plain) as there:
        for family in (4, 6):
            assert asks(kata, here, plain.address(family))
            assert asks(runc, there, ours.address(family))
