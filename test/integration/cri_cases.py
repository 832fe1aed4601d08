# SPDX-License-Identifier: Apache-2.0
"""What holds for a pod whether it has a sandbox container (test_cri.py) or not (test_sandbox_cri.py)."""
import json
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


def people_know_it_by_its_name(cri, ctl):
    with pod_of(cri, "named") as pod:
        identity = pod.start("first", "sleep", "1000")

        (line,) = [line for line in json.loads(ctl("ps", "--json")) if line["pod"] == "default/named"]
        assert line["sandbox"].startswith(pod.identity) and line["state"] == "running"
        state = json.loads(ctl("inspect", "default/named"))
        assert identity in [container["id"] for container in state["containers"]] and state["id"] == pod.identity
        assert ctl("exec", identity, "--", "hostname") == "named\n"
        assert 'kata_pod_info{pod="named",pod_namespace="default"' in ctl("metrics", "named")
    assert "timeline: container started" in ctl("logs", line["sandbox"])
