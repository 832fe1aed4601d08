# SPDX-License-Identifier: Apache-2.0
"""Pods that containerd 2 runs without a sandbox container (`sandboxer = "shim"`), asked for through CRI as the kubelet does."""
import pytest

import cri_cases
import harness
from cri import EXITED, OF_POD, READY, RUNNING, containerd, major_version, pod_of

ENDED_STATUS = 137
LOOK = "ps -o args | grep -q 'sleep 3141[5]'"
pytestmark = pytest.mark.skipif(major_version() < 2, reason="the Sandbox API is containerd 2's")


@pytest.fixture(scope="module", name="cri")
def containerd_with_cri(prefix, tmp_path_factory):
    with containerd(prefix, tmp_path_factory.mktemp("cri-call"), sandboxer="shim") as cri:
        yield cri


def test_pod_of_two_containers(cri):
    with pod_of(cri, "two") as pod:
        _, info = pod.status(verbose=True)
        address = pod.address()
        assert pod.state() == READY
        assert address.startswith("10.88.")
        assert int(info["machine_pid"]) in pod.machines()
        # The machine is the only thing that runs for the pod.
        assert len(cri.shim_pids(pod.identity)) == 1
        assert not harness.processes("pause", cri.token)

        first = pod.start("first", "sleep", "31415")
        second = pod.start("second", "sleep", "1000")
        assert pod.container(first).get(3, 0) == RUNNING
        assert pod.exec(first, "hostname") == (0, "two\n")
        assert pod.exec(first, "cat", "/etc/resolv.conf") == (0, "search pods.test\nnameserver 192.0.2.53\n")
        assert pod.exec(first, "cat", "/proc/sys/net/core/somaxconn") == (0, "321\n")
        assert address in pod.exec(first, "ip", "address", "show", "eth0")[1]
        assert pod.exec(first, "sh", "-c", "echo note >/dev/shm/note; exit 5")[0] == 5
        assert pod.exec(second, "cat", "/dev/shm/note") == (0, "note\n")
        assert pod.exec(second, "sh", "-c", LOOK)[0] == 1

        cri.call("StopContainer", {1: first, 2: 0})
        ended = pod.container(first)
        assert ended[3] == EXITED and ended[7] == ENDED_STATUS
        cri.call("RemoveContainer", {1: first})
        assert pod.exec(second, "true")[0] == 0
        assert pod.state() == READY


def test_pod_whose_last_container_is_gone_takes_another(cri):
    with pod_of(cri, "again") as pod:
        for name in ("once", "twice"):
            identity = pod.start(name, "sh", "-c", "exit 4")
            assert pod.wait_exit(identity) == 4
            cri.call("RemoveContainer", {1: identity})
        assert pod.state() == READY


def test_pod_that_shares_its_pids(cri):
    with pod_of(cri, "pids", pids=OF_POD) as pod:
        pod.start("first", "sleep", "31415")
        second = pod.start("second", "sleep", "1000")

        assert pod.exec(second, "sh", "-c", LOOK)[0] == 0
        assert pod.exec(second, "cat", "/proc/1/comm") == (0, "pause\n")


def test_pod_whose_machine_dies_is_not_ready(cri):
    cri_cases.machine_dies(cri)


def test_pod_outlives_containerd(cri):
    cri_cases.outlives_containerd(cri)


def test_people_know_the_pod_by_its_name(cri, ctl):
    cri_cases.people_know_it_by_its_name(cri, ctl)
