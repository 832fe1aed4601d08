# SPDX-License-Identifier: Apache-2.0
"""What holds for a pod whether it has a sandbox container (test_cri.py) or not (test_sandbox_cri.py)."""
import signal

import harness
from cri import NOT_READY, READY, RUNNING, pod_of

ENDED_STATUS = 137


def machine_dies(cri):
    with pod_of(cri, "dies") as pod:
        identity = pod.start("first", "sleep", "1000")

        harness.kill(pod.machines())

        harness.wait_for(lambda: pod.state() == NOT_READY, "the pod to be not ready")
        assert pod.wait_exit(identity) == ENDED_STATUS


def outlives_containerd(cri):
    with pod_of(cri, "outlives") as pod:
        identity = pod.start("first", "sleep", "1000")

        cri.stop(signal.SIGKILL)
        cri.start()

        assert pod.state() == READY
        assert pod.container(identity).get(3, 0) == RUNNING
        assert pod.exec(identity, "hostname") == (0, "outlives\n")
