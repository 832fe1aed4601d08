# SPDX-License-Identifier: Apache-2.0
"""What bench measures of a pod's network: TCP one way and the other, and the round trip of a byte, to a peer in another
network namespace. Beside it the same programs between two plain namespaces, and in a raw QEMU on a tap, with the pod's
kernel.
"""
import contextlib
import pathlib
import re
import subprocess

import harness
from raw_guest import RawGuest, build
from test_network import Network, run

HERE = pathlib.Path(__file__).resolve().parent
SENT_MIB = 64
PLAIN_MIB = 1024
TURNS = 1000
ROUNDS = 5
PORT = 4200
RAW_SECONDS = 300
RAW_ADDRESS = "10.88.99"
SCRIPT = "ip link set lo up; ip link set eth0 up; ip addr add {address}.2/24 dev eth0\n{asks}"


def words_of(mib):
    return (("send", mib << 20), ("receive", mib << 20), ("turn", TURNS))


@contextlib.contextmanager
def serving(namespace, program, address):
    with subprocess.Popen(["ip", "netns", "exec", namespace, program, "serve", address, str(PORT)]) as server:
        try:
            listening = ["ip", "netns", "exec", namespace, "ss", "-Hltn", f"sport = :{PORT}"]
            harness.wait_for(lambda: subprocess.run(listening, stdout=subprocess.PIPE, check=True).stdout, "the server")
            yield
        finally:
            server.kill()


class NetworkBench:
    def __init__(self, kata, machine):
        self.kata, self.machine = kata, machine
        self.program = build(HERE / "stream_rate.c", kata.directory / "rate")
        # A pod's machine takes all that its namespace receives: the plain ones are others.
        self.network, self.other = Network(kata.token), Network(f"{kata.token}-plain")

    def measure(self):
        """ROUNDS times the values of the pod, of two plain namespaces and of the raw machine, each a dict by kind."""
        for network in (self.network, self.other):
            network.make()
        guest = self.raw_guest()
        mount = f"type=bind,src={self.program},dst=/rate,options=rbind:ro"
        found = []
        try:
            with serving(self.network.peer, self.program, "10.88.0.1"), \
                    serving(self.other.peer, self.program, "10.88.0.1"), \
                    self.kata.container(flags=(*self.network.flags, "--mount", mount)) as identity:
                for _ in range(ROUNDS):
                    plain = {kind: float(self.plainly(kind, size)) for kind, size in words_of(PLAIN_MIB)}
                    pod = {kind: float(self.in_pod(identity, kind, size)) for kind, size in words_of(SENT_MIB)}
                    found.append((pod, plain, self.raw(guest)))
        finally:
            for network in (self.network, self.other):
                network.remove()
        return found

    def plainly(self, kind, size):
        return run("ip", "netns", "exec", self.other.pod, self.program, kind, "10.88.0.1", PORT, size)

    def in_pod(self, identity, kind, size):
        result = self.kata.exec(identity, "/rate", kind, "10.88.0.1", str(PORT), str(size))
        assert result.code == 0, result
        return result.out

    def raw(self, guest):
        """Its tap's other end is in the server's namespace."""
        namespace = f"{self.kata.token}-raw"
        run("ip", "netns", "add", namespace)
        try:
            run("ip", "-n", namespace, "tuntap", "add", "raw0", "mode", "tap")
            run("ip", "-n", namespace, "addr", "add", f"{RAW_ADDRESS}.1/24", "dev", "raw0")
            run("ip", "-n", namespace, "link", "set", "raw0", "up")
            with serving(namespace, self.program, f"{RAW_ADDRESS}.1"):
                done = subprocess.run(
                    guest.command("-netdev", "tap,id=n,ifname=raw0,script=no,downscript=no", "-device",
                                  "virtio-net-pci,netdev=n,romfile=", inside=("ip", "netns", "exec", namespace)),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=RAW_SECONDS, check=True)
        finally:
            run("ip", "netns", "del", namespace)
        found = re.findall(r"rate (\w+) ([\d.]+)", done.stdout.decode(errors="replace"))
        return {kind: float(value) for kind, value in found}

    def raw_guest(self):
        asks = "".join(f'echo "rate {kind} $(/rate {kind} {RAW_ADDRESS}.1 {PORT} {size})" >/dev/ttyS0\n'
                       for kind, size in words_of(SENT_MIB))
        return RawGuest(self.machine, self.kata.directory / "raw.img", SCRIPT.format(address=RAW_ADDRESS, asks=asks),
                        [self.program])


def rows(bench):
    names = {"send": ("network, TCP from the pod", "MB/s", 1e-6), "receive": ("network, TCP to the pod", "MB/s", 1e-6),
             "turn": ("network, a byte there and back", "ms", 1e-3)}
    for each in NetworkBench(bench.kata, bench.raw).measure():
        for subject, values in zip((bench.mine, "plain", "raw"), each):
            for kind, (what, unit, factor) in names.items():
                bench.add(what, unit, subject, factor * values[kind], "/ raw >= 0.9" if kind != "turn" else "")
