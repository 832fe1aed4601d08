# SPDX-License-Identifier: Apache-2.0
"""What a pod with the runtime class is: its machine, its containers, and what the kubelet hears of their ends."""
import os

from cluster import IS_KATA
from space import config_map, container, pod, shell

OUT_OF_MEMORY = 137


def test_runtime_class(space):
    other = pod("other", container("c"))
    del other["spec"]["runtimeClassName"]
    space.run(pod("machine", container("c")), other)
    assert space.output("other", "uname", "-r") == os.uname().release
    assert (space.output("machine", "uname", "-r") != os.uname().release) == IS_KATA
    assert len(space.cluster.machines()) == IS_KATA
    assert space.get("pod", "machine")["spec"]["overhead"] == {"cpu": "100m", "memory": "288Mi"}


def test_init_containers_and_sidecars(space):
    mounts = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    space.run(pod(
        "p", shell("c", "cat /shared/order; echo of-c > /shared/c; exec sh -c 'while :; do sleep 0.1; done'", **mounts),
        container("side", **mounts),
        initContainers=[shell("one", "sleep 1; echo one >> /shared/order", **mounts),
                        shell("two", "echo two >> /shared/order", **mounts)],
        volumes=[{"name": "shared", "emptyDir": {}}]))
    assert space.logs("p", "--container=c") == "one\ntwo\n"
    space.until(lambda: space.exec("p", "cat", "/shared/c", container_name="side").out == b"of-c\n", "the other's file")
    # One machine, one network, but processes of their own.
    assert len(space.cluster.machines()) == IS_KATA
    for name in ("c", "side"):
        seen = space.output("p", "cat", "/proc/1/comm", "/proc/sys/kernel/hostname", container_name=name)
        assert seen.split() == ["sh", "p"]


def test_init_container_that_fails(space):
    one = pod("p", container("c"), initContainers=[shell("i", "exit 3")], restartPolicy="Never")
    assert space.run_to_end(one) == "Failed"
    state, = space.get("pod", "p")["status"]["initContainerStatuses"]
    assert state["state"]["terminated"]["exitCode"] == 3
    assert space.container_status("p")["state"]["waiting"]["reason"] == "PodInitializing"


def test_shared_processes(space):
    space.run(pod("p", container("c"), container("side", "sleep", "7654321"), shareProcessNamespace=True))
    assert "sleep 7654321" in space.output("p", "ps", "-o", "args")


def test_what_a_pod_is_given(space):
    space.run(config_map("settings", color="green"),
              {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "hidden"},
               "stringData": {"password": "of-the-test"}},
              pod("p", container(
                  "c", env=[{"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
                            {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}],
                  resources={"limits": {"memory": "64Mi"}},
                  volumeMounts=[{"name": "hidden", "mountPath": "/hidden", "readOnly": True},
                                {"name": "labels", "mountPath": "/labels"}]),
                  volumes=[{"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
                           {"name": "labels", "downwardAPI": {"items": [
                               {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]))
    assert space.output("p", "sh", "-c", "echo $ADDRESS $COLOR $MEMORY") == f"{space.address('p')} green {64 << 20}"
    assert space.address("p") in space.output("p", "ip", "address", "show", "eth0")
    assert space.output("p", "stat", "-L", "-c", "%a", "/hidden/password") == "400"
    assert space.output("p", "cat", "/hidden/password", "/labels/labels") == 'of-the-testapp="p"'
    assert space.exec("p", "touch", "/hidden/new").code == 1
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert space.output("p", "cat", f"{token}/namespace") == space.name
    assert space.output("p", "sh", "-c", f"wc -c < {token}/token") > "100"


def test_security_context(space):
    space.run(pod("p", container("c", securityContext={
        "runAsUser": 1234, "runAsGroup": 2345, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]}}, volumeMounts=[{"name": "v", "mountPath": "/v"}]),
        securityContext={"fsGroup": 3456, "supplementalGroups": [4567],
                         "sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "2000 3000"}]},
        volumes=[{"name": "v", "emptyDir": {}}]))
    assert space.output("p", "sh", "-c", "id -u; id -g; id -G").split() == ["1234", "2345", "2345", "3456", "4567"]
    assert "Read-only" in space.exec("p", "touch", "/file").err
    space.output("p", "touch", "/v/file")
    assert space.output("p", "stat", "-c", "%u %g", "/v/file") == "1234 3456"
    status = space.output("p", "cat", "/proc/self/status")
    assert "NoNewPrivs:\t1" in status and "CapBnd:\t0000000000000000" in status
    assert space.output("p", "cat", "/proc/sys/net/ipv4/ip_local_port_range").split() == ["2000", "3000"]


def test_exit_codes_and_messages(space):
    one = pod("p", shell("c", "echo why > /dev/termination-log; exit 7"), restartPolicy="Never")
    assert space.run_to_end(one) == "Failed"
    end = space.container_status("p")["state"]["terminated"]
    assert (end["exitCode"], end["reason"], end["message"]) == (7, "Error", "why\n")
    assert space.run_to_end(pod("good", shell("c", "exit 0"), restartPolicy="Never")) == "Succeeded"


def test_restarts(space):
    script = "echo run >> /kept/runs; [ $(wc -l < /kept/runs) -ge 3 ] || exit 9; exec sleep 100000"
    space.apply(pod("p", shell("c", script, volumeMounts=[{"name": "kept", "mountPath": "/kept"}]),
                    volumes=[{"name": "kept", "emptyDir": {}}]))
    space.wait_run("p", 2)
    assert space.container_status("p")["lastState"]["terminated"]["exitCode"] == 9
    # The pod's machine has stayed.
    assert len(space.cluster.machines()) == IS_KATA


def test_out_of_memory(space):
    assert space.run_to_end(pod("p", shell("c", "exec tail /dev/zero", resources={"limits": {"memory": "48Mi"}}),
                                restartPolicy="Never")) == "Failed"
    end = space.container_status("p")["state"]["terminated"]
    assert (end["exitCode"], end["reason"]) == (OUT_OF_MEMORY, "OOMKilled")


def test_a_pod_can_use_its_limit(space):
    """More than the configuration's default. This kubelet does not say how large a pod is: the machine grows."""
    script = "dd if=/dev/zero of=/m/all bs=1M count=700 2>/dev/null && stat -c %s /m/all"
    one = shell("c", script, resources={"limits": {"memory": "1Gi", "cpu": "1"}},
                volumeMounts=[{"name": "m", "mountPath": "/m"}])
    assert space.run_to_end(pod("p", one, volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}],
                                restartPolicy="Never")) == "Succeeded"
    assert space.logs("p") == f"{700 << 20}\n"


def test_a_busy_pod_stays_within_its_limit(space):
    """The kubelet's limit for all of the pod is the containers' and the overhead: the machine's own fits."""
    script = "i=0; while [ $i -lt 250 ]; do /bin/ls / >/dev/null; i=$((i+1)); done"
    assert space.run_to_end(pod("p", shell("c", script, resources={"limits": {"memory": "64Mi"}}),
                                restartPolicy="Never")) == "Succeeded"


def test_grace_period(space):
    """A program that does not hear SIGTERM is killed, one that does ends in its own way."""
    space.run(pod("deaf", shell("c", "trap '' TERM; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=3),
              pod("polite", shell("c", "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.1; done"),
                  terminationGracePeriodSeconds=120))
    space.delete("pod", "polite")
    space.delete("pod", "deaf")
