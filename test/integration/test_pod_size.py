# SPDX-License-Identifier: Apache-2.0
"""The size of a pod's machine: what its containers may use, they can use."""
import json
import os

import pytest

import harness
from task_client import TaskClient
from test_neighbours import annotations
from ttrpc_client import encode

RUNC = "io.containerd.runc.v2"
MIB = 1 << 20
RESOURCES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"
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


def test_a_pod_of_limited_containers_has_a_machine_of_their_size(kata):
    """The memory of the configuration comes when a container without a limit does, and goes with it."""
    pod = kata.new_id("pod")
    with kata.container(identity=pod, flags=(*annotations("sandbox", pod), *annotation(SANDBOX_MEMORY, 64 * MIB))):
        with kata.container(flags=(*annotations("container", pod), "--memory-limit", str(64 * MIB))) as limited:
            at_first = size_of(kata, limited)
            assert 64 < at_first[0] <= 64 + 2 + 160
            assert kata.run(*hold(50), flags=(*annotations("container", pod), *MEMORY)).out.split() == [str(50 * MIB).encode()]
            with kata.container(flags=(*annotations("container", pod), *MEMORY)) as free:
                assert kata.exec(free, *hold(300)).out.split() == [str(300 * MIB).encode()], kata.log_tail()
            harness.wait_for(lambda: size_of(kata, limited) == at_first, "the memory to be given back")


TOTAL = "awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo"
CPUS = len(os.sched_getaffinity(0))


def size_of(kata, identity):
    """MiB and processors that the machine has, as a program in it sees them."""
    memory, processors = kata.exec(identity, "sh", "-c", f"{TOTAL}; nproc").out.split()
    return int(memory), int(processors)


def update(kata, identity, resources):
    with TaskClient(kata.bundle(identity)) as client:
        client.call("Update", {1: identity, 2: encode({1: RESOURCES_TYPE, 2: json.dumps(resources)})})


def test_a_machine_grows_and_shrinks_with_a_limit(kata):
    with kata.container(flags=("--memory-limit", str(256 * MIB), *MEMORY)) as identity:
        at_first = size_of(kata, identity)
        update(kata, identity, {"memory": {"limit": 1024 * MIB}})

        grown = size_of(kata, identity)
        assert 1024 < grown[0] <= 1024 + 1024 // 64 + 160, grown
        assert kata.exec(identity, *hold(930)).out.split() == [str(930 * MIB).encode()]

        assert kata.exec(identity, "rm", "/memory/x").code == 0
        update(kata, identity, {"memory": {"limit": 256 * MIB}})
        harness.wait_for(lambda: size_of(kata, identity) == at_first, "the memory to be given back")


@pytest.mark.skipif(CPUS < 2, reason="a machine has no more processors than its host")
def test_processors_come_with_a_quota(kata):
    with kata.container(flags=("--cpus", "1")) as identity:
        assert size_of(kata, identity)[1] == 1
        update(kata, identity, {"cpu": {"quota": 200000, "period": 100000}})
        assert size_of(kata, identity)[1] == 2
        update(kata, identity, {"cpu": {"quota": 100000}})
        harness.wait_for(lambda: size_of(kata, identity)[1] == 1, "the second processor to go")


def test_the_containers_of_a_pod_share_a_machine_of_their_size(kata):
    """No annotation says how large the pod is: CRI-O's way."""
    pod = kata.new_id("pod")
    member = ("--memory-limit", str(400 * MIB), *MEMORY, *annotations("container", pod))
    with kata.container(identity=pod, flags=annotations("sandbox", pod)):
        with kata.container(flags=member) as first:
            at_first = size_of(kata, first)
            with kata.container(flags=member) as second:
                assert size_of(kata, first)[0] > max(800, at_first[0])
                for identity in (first, second):
                    assert kata.exec(identity, *hold(360)).out.split() == [str(360 * MIB).encode()]
            harness.wait_for(lambda: size_of(kata, first) == at_first, "the second one's memory to be given back")


def test_a_container_that_has_ended_counts_no_more(kata):
    pod = kata.new_id("pod")
    member = ("--memory-limit", str(400 * MIB), *annotations("container", pod))
    with kata.container(identity=pod, flags=annotations("sandbox", pod)):
        with kata.container(flags=member) as before:
            assert kata.ctr("task", "kill", "--signal", "SIGKILL", before).code == 0
            harness.wait_for(lambda: kata.tasks()[before][1] == "STOPPED", "it to end")
            with kata.container(flags=member) as after:
                assert size_of(kata, after)[0] < 800


def test_a_container_without_a_limit_may_use_what_was_added(kata):
    pod = kata.new_id("pod")
    with kata.container(identity=pod, flags=annotations("sandbox", pod)), \
            kata.container(flags=(*MEMORY, *annotations("container", pod))) as free, \
            kata.container(flags=("--memory-limit", str(900 * MIB), *annotations("container", pod))):
        assert kata.exec(free, *hold(700)).out.split() == [str(700 * MIB).encode()], kata.log_tail()


def test_a_machine_that_may_not_grow_keeps_its_size(kata):
    fixed = kata.configured("fixed", "[hypervisor.qemu]\ndefault_maxmemory = 1\ndefault_maxvcpus = 1\n")
    with kata.container(flags=("--memory-limit", str(256 * MIB), "--cpus", "1", *fixed)) as identity:
        at_first = size_of(kata, identity)
        update(kata, identity, {"memory": {"limit": 1024 * MIB}, "cpu": {"quota": 200000}})
        assert size_of(kata, identity) == at_first


@pytest.mark.parametrize("whom", ["shim", "machine", "both"])
def test_a_kill_while_the_machine_grows_leaves_nothing(kata, whom):
    """What is there after it, the fixture looks for: processes, mounts, sockets, cgroups, files."""
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000", flags=("--memory-limit", str(256 * MIB)))
    shims, machines = kata.shim_pids(identity), kata.qemu_pids(identity)
    with TaskClient(kata.bundle(identity)) as client:
        client.begin("Update", {1: identity, 2: encode({1: RESOURCES_TYPE, 2: json.dumps({"memory": {"limit": 2048 * MIB}})})})
        harness.kill([*(shims if whom != "machine" else []), *(machines if whom != "shim" else [])])
    kata.remove(identity)
