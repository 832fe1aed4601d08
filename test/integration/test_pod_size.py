# SPDX-License-Identifier: Apache-2.0
"""The size of a pod's machine: what its containers may use, they can use."""
import os

import pytest

from test_neighbours import annotations

RUNC = "io.containerd.runc.v2"
MIB = 1 << 20
SANDBOX_MEMORY = "io.kubernetes.cri.sandbox-memory"


MEMORY = ("--mount", "type=tmpfs,src=tmpfs,dst=/memory,options=size=2g")


def hold(mebibytes):
    """A program that has so much memory at once, and says that it had; with the flags MEMORY."""
    return "sh", "-c", f"dd if=/dev/zero of=/memory/x bs=1M count={mebibytes} 2>/dev/null; stat -c %s /memory/x"


def annotation(name, value):
    return "--annotation", f"{name}={value}"


@pytest.mark.parametrize("limit, held", [(64, 50), (1024, 930)])
def test_a_container_can_use_its_limit(kata, limit, held):
    flags = ("--memory-limit", str(limit * MIB), *MEMORY)
    result = kata.run(*hold(held), flags=flags)
    assert result.out.split() == [str(held * MIB).encode()], f"{result}\n{kata.log_tail()}"
    peer = kata.sibling(kata.namespace)
    peer.runtime = RUNC
    assert peer.run(*hold(held), flags=flags).out == result.out


def test_a_machine_is_not_larger_than_its_limit_and_the_overhead(kata):
    result = kata.run("sh", "-c", "awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo",
                      flags=("--memory-limit", str(128 * MIB)))

    assert 128 <= int(result.out) <= 128 + 2 + 160, result


def test_processors_are_those_of_the_quota(kata):
    assert kata.run("nproc", flags=("--cpus", "0.5")).out == b"1\n"
    assert kata.run("nproc", flags=("--cpus", "1.5")).out == f"{min(2, len(os.sched_getaffinity(0)))}\n".encode()


def test_a_pod_has_what_the_kubelet_says_of_it(kata):
    pod = kata.new_id("pod")
    flags = (*annotations("sandbox", pod), *annotation(SANDBOX_MEMORY, 1024 * MIB))
    with kata.container(identity=pod, flags=flags):
        result = kata.run(*hold(900), flags=(*annotations("container", pod), *MEMORY, "--memory-limit", str(1000 * MIB)))
        assert result.out.split() == [str(900 * MIB).encode()], result
