# SPDX-License-Identifier: Apache-2.0
"""A node in trouble: kubelet and containerd killed and started, a machine that dies, memory that runs short."""
import contextlib
import os
import signal

import pytest

from cluster import IS_KATA, NODE
from space import container, pod, shell

GIBI = 1 << 30
PODS_LIMIT = 3 * GIBI       # what all pods may have while memory is short
EVICTION = 3 * GIBI // 2    # what must be left of it
HUNGER_MEBI = 1700          # brings a pod above this, and stays within its machine
COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.2; done"


def numbers(space, name):
    return [int(line) for line in space.logs(name, "--container=c").split()]


def test_node_restart(space):
    """Pods live on without kubelet and containerd, and say no word that is lost; what was deleted meanwhile goes."""
    cluster = space.cluster
    space.run(pod("stays", shell("c", COUNT), container("side")), pod("goes", container("c")))
    machines = cluster.machines()
    before = space.get("pod", "stays")
    for part in ("kubelet", "containerd"):
        cluster.end_part(part, signal.SIGKILL)
    space.kubectl("delete", "pod", "goes", "--wait=false")
    assert cluster.machines() == machines
    cluster.start_containerd()
    cluster.start_kubelet()
    space.wait("delete", "pod/goes")
    last = numbers(space, "stays")[-1]
    space.until(lambda: numbers(space, "stays")[-1] > last + 10, "more of the log")
    seen = numbers(space, "stays")
    assert seen == list(range(1, seen[-1] + 1))
    space.wait("condition=Ready", "pod/stays")
    after = space.get("pod", "stays")
    assert [one["containerID"] for one in after["status"]["containerStatuses"]] == [
        one["containerID"] for one in before["status"]["containerStatuses"]]
    assert space.output("stays", "echo", "alive", container_name="side") == "alive"


@pytest.mark.skipif(not IS_KATA, reason="runc has no machine")
def test_machine_that_dies(space):
    """All of the pod has ended then; the kubelet makes it anew."""
    space.run(pod("p", container("c"), container("side")))
    machine, = space.cluster.machines()
    os.kill(machine, signal.SIGKILL)
    for name in ("c", "side"):
        space.wait_run("p", 1, name)
    assert space.output("p", "echo", "again") == "again"
    assert space.cluster.machines() != [machine]


@contextlib.contextmanager
def little_memory(cluster):
    """A kubelet that lets all pods together have PODS_LIMIT."""
    capacity = cluster.kubectl("get", "node", NODE, "--output=jsonpath={.status.capacity.memory}").out.decode()
    assert capacity.endswith("Ki")
    reserved = int(capacity[:-2]) * 1024 - PODS_LIMIT

    def again(settings):
        cluster.end_part("kubelet")
        cluster.kubelet_settings = settings
        cluster.start_kubelet()
    again({"enforceNodeAllocatable": ["pods"], "systemReserved": {"memory": str(reserved)},
           "evictionHard": {"memory.available": str(EVICTION), "nodefs.available": "1%"}})
    try:
        yield
    finally:
        again({})


def test_eviction(space):
    """The pod that takes more than it has asked for goes, the other stays."""
    with little_memory(space.cluster):
        space.run(pod("modest", container("c", resources={"requests": {"memory": "512Mi"}})))
        space.apply(pod("hungry", shell("c", f"dd if=/dev/zero of=/m/all bs=1M count={HUNGER_MEBI}; sleep 100000",
                                        resources={"requests": {"memory": "64Mi"}, "limits": {"memory": "2Gi"}},
                                        volumeMounts=[{"name": "m", "mountPath": "/m"}]),
                        volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}]))
        space.until(lambda: space.phase("hungry") == "Failed", "the eviction")
        assert space.get("pod", "hungry")["status"]["reason"] == "Evicted"
        assert space.phase("modest") == "Running"
    space.until(lambda: not space.cluster.node_condition("MemoryPressure"), "the pressure to end")
