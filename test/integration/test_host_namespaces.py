# SPDX-License-Identifier: Apache-2.0
"""Namespaces of the host: refused with a line that says what to do, or the machine's own where the operator lets them be."""
import subprocess

import pytest

from changed_installation import edit, installation, one_line
from harness import read

WORDS = {"network": "hostNetwork", "pid": "hostPID", "ipc": "hostIPC"}


def without(kata, kind, *command):
    spec = kata.default_spec(*command)
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != kind]
    return spec


def hosts_network(kata):
    return f"/proc/{kata.process.pid}/ns/net"


def interfaces():
    return subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("kind", WORDS)
def test_each_is_refused(kata, kind):
    result = kata.run_config(without(kata, kind, "true"))

    assert result.code == 1
    one_line(result.err, "linux.namespaces", f"no {kind} namespace", WORDS[kind], f'host_{kind} = "machine"')


def test_net_host_of_ctr_is_refused(kata):
    result = kata.run("true", flags=("--net-host",))

    assert result.code == 1
    one_line(result.err, "hostNetwork", "host_network")


def test_a_path_to_the_hosts_network_is_refused_and_leaves_it_alone(kata):
    before = interfaces()
    path = hosts_network(kata)
    result = kata.run("true", flags=("--with-ns", f"network:{path}"))

    assert result.code == 1
    one_line(result.err, f'network at "{path}" is the host\'s', "host_network")
    assert interfaces() == before


def test_an_operator_may_let_them_be_the_machines(kata):
    """Each with a warning; the machine's network is loopback only."""
    def accept(prefix):
        for kind in WORDS:
            edit(f"^host_{kind} = .*", f'host_{kind} = "machine"')(prefix)

    with installation(kata, change=accept) as other:
        script = "ls /sys/class/net; test -d /proc/2 && cat /proc/1/comm"
        path = hosts_network(other)
        for flags in (("--net-host",), ("--with-ns", f"network:{path}")):
            assert other.run("ls", "/sys/class/net", flags=flags).out.split() == [b"lo"], other.log_tail()
        spec = without(other, "pid", "sh", "-c", script)
        spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "ipc"]
        result = other.run_config(spec)
        assert result.out.split() == [b"lo", b"init"], f"{result}\n{other.log_tail()}"
        log = read(other.log)
        for kind in WORDS:
            assert f"its {kind} namespace is the machine's own, not the host's" in log
        assert f'"{path}\\" is the host\'s: it gets the machine\'s own instead' in log
