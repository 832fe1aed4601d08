# SPDX-License-Identifier: Apache-2.0
"""Pods without a sandbox container: the shim's Sandbox service, asked as containerd 2 does with `sandboxer = "shim"`."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

import harness
import ttrpc_client
from ttrpc_client import CallError, decode, decode_all, encode

SANDBOX = "containerd.runtime.sandbox.v1.Sandbox"
OPTIONS_TYPE = "runtimeoptions.v1.Options"
ALREADY_EXISTS, FAILED_PRECONDITION = 6, 9
READY, NOT_READY = b"SANDBOX_READY", b"SANDBOX_NOTREADY"
ENDED_STATUS = 137
MEMORY = 700 << 20
POD_CONFIG = {2: "web", 4: {1: "192.0.2.53", 2: "pods.test", 3: "ndots:5"},
              8: {3: {1: "kernel.shm_rmid_forced", 2: "1"}, 5: {4: MEMORY}}}
OF_CONTAINER, OF_POD = 1, 0  # whose pids they are
MAPPING = {1: 100000, 3: 65536}
LOOK = "ps -o args | grep -q 'sleep 3141[5]'"
SHOW = """
hostname; cat /etc/hostname /etc/resolv.conf /proc/sys/kernel/shm_rmid_forced
readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts
"""


class Pod:
    """A bundle as the sandbox controller makes it, its shim, and what a caller does with both."""

    def __init__(self, kata, options=b""):
        self.kata = kata
        self.identity = kata.new_id("pod")
        self.parent = kata.directory / "sandboxes"
        self.path = self.make_bundle(self.identity)
        self.address = self.run_shim(self.identity, "start", options).decode().strip()
        self.shim = ttrpc_client.Shim(self.address.removeprefix("unix://"))
        self.pid = 0

    def make_bundle(self, identity):
        path = self.parent / identity
        (path / "rootfs").mkdir(parents=True)
        os.mkfifo(path / "log")
        return path

    def run_shim(self, identity, action, stdin=b""):
        path = self.parent / identity
        command = [self.kata.prefix / "bin/containerd-shim-kata-v2", "-namespace", harness.NAMESPACE, "-address",
                   self.kata.address, "-publish-binary", "/usr/bin/containerd", "-id", identity, "-bundle", path, action]
        done = subprocess.run(command, cwd=path, env=dict(os.environ, TTRPC_ADDRESS=""), input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=harness.COMMAND_SECONDS, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def call(self, method, fields=None):
        return self.shim.call(method, {1: self.identity, **(fields or {})}, service=SANDBOX)

    def begin(self, method):
        return self.shim.begin(method, {1: self.identity}, service=SANDBOX)

    def create(self, config=None):
        options = {1: "runtime.v1.PodSandboxConfig", 2: encode(config or {})}
        return self.call("CreateSandbox", {2: str(self.path), 4: options})

    def start(self):
        starting = self.begin("StartSandbox")
        self.pid = self.shim.finish(starting, harness.COMMAND_SECONDS)[1]

    def state(self):
        return self.call("SandboxStatus")[3]

    def info(self):
        answer = self.shim.finish_bytes(self.shim.begin("SandboxStatus", {1: self.identity, 2: 1}, service=SANDBOX))
        entries = [decode(value) for field, value in decode_all(answer) if field == 4]
        return {entry[1].decode(): entry[2].decode() for entry in entries}

    def spec(self, command, own_pids=True, user=False):
        """As CRI makes it: the pod's namespaces are those of the sandbox's process."""
        spec = self.kata.default_spec(*command)
        spec["annotations"] = {"io.kubernetes.cri.container-type": "container",
                               "io.kubernetes.cri.sandbox-id": self.identity}
        shared = {"network": "net", "ipc": "ipc", "uts": "uts"} if own_pids else \
                 {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
        for entry in spec["linux"]["namespaces"]:
            if entry["type"] in shared:
                entry["path"] = f"/proc/{self.pid}/ns/{shared[entry['type']]}"
        if user:
            spec["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{self.pid}/ns/user"})
            mapping = [{"containerID": 0, "hostID": MAPPING[1], "size": MAPPING[3]}]
            spec["linux"].update(uidMappings=mapping, gidMappings=mapping)
            if not (root := self.parent / "rootfs").exists():
                self.kata.rootfs_of(MAPPING[1], root)
            spec["root"]["path"] = str(root)
        return spec

    def create_container(self, word, spec, joins=False):
        """With `joins`, as for a shim of version 2: `start` is run for the container too."""
        identity = self.kata.new_id(word)
        bundle = self.make_bundle(identity)
        (bundle / "config.json").write_text(json.dumps(spec), encoding="utf-8")
        if joins:
            assert self.run_shim(identity, "start").decode().strip() == self.address
        created = self.shim.call("Create", {1: identity, 2: str(bundle), 6: f"file://{bundle}/out"})
        assert created[1] == self.pid
        return identity

    def run(self, word, *command, joins=False, **how):
        """The exit status and the output of a container of the pod, which is removed again."""
        identity = self.create_container(word, self.spec(command, **how), joins)
        waiting = self.shim.begin("Wait", {1: identity})
        self.shim.call("Start", {1: identity})
        status = self.shim.finish(waiting, harness.COMMAND_SECONDS).get(1, 0)
        output = (self.parent / identity / "out").read_text(encoding="utf-8")
        self.shim.call("Delete", {1: identity})
        if joins:
            self.shim.call("Shutdown", {1: identity})
            self.run_shim(identity, "delete")
        return status, output

    def remove(self):
        self.shim.close()
        shutil.rmtree(self.parent)


@contextlib.contextmanager
def pod_of(kata, options=b""):
    pod = Pod(kata, options)
    try:
        yield pod
        pod.call("ShutdownSandbox")
        pod.shim.close()  # as containerd does with the answer
        harness.wait_for(lambda: not kata.shim_pids(pod.identity), "the shim to end")
    finally:
        for pid in kata.shim_pids(pod.identity):  # only after a failure
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        pod.run_shim(pod.identity, "delete")
        pod.remove()


@contextlib.contextmanager
def running_pod(kata, config=None):
    with pod_of(kata) as pod:
        pod.create(config)
        pod.start()
        yield pod


def error_of(call, *arguments):
    with pytest.raises(CallError) as error:
        call(*arguments)
    return error.value.code


def test_pod_without_a_sandbox_container(kata):
    with pod_of(kata) as pod:
        pod.create(POD_CONFIG)
        assert pod.state() == NOT_READY
        assert not kata.qemu_pids(pod.identity)
        pod.start()
        assert pod.pid in kata.qemu_pids(pod.identity)
        assert pod.state() == READY
        pod.call("PingSandbox")
        platform = decode(pod.call("Platform")[1])
        assert platform[1] == b"linux" and platform[2] in (b"amd64", b"arm64")
        waiting = pod.begin("WaitSandbox")

        status, first = pod.run("a", "sh", "-c", SHOW + "echo here >/dev/shm/note; exit 7")
        assert status == 7
        lines = first.splitlines()
        assert lines[:6] == ["web", "web", "search pods.test", "nameserver 192.0.2.53", "options ndots:5", "1"]
        # The next one shares what the first had, which is gone.
        assert pod.state() == READY
        status, second = pod.run("b", "sh", "-c", SHOW + "cat /dev/shm/note")
        assert status == 0
        assert second.splitlines() == [*lines, "here"]

        pod.call("StopSandbox")
        ended = pod.shim.finish(waiting)
        assert ended.get(1, 0) == 0 and 2 in ended
        assert pod.state() == NOT_READY
        pod.call("StopSandbox")
        assert not kata.qemu_pids(pod.identity)
        assert error_of(pod.start) == FAILED_PRECONDITION


def test_containers_that_are_announced_with_start(kata):
    with running_pod(kata) as pod:
        assert pod.run("a", "sh", "-c", "exit 3", joins=True)[0] == 3
        # Neither the Shutdown of the last container nor its `delete` ends the pod.
        assert pod.state() == READY
        assert pod.run("b", "sh", "-c", "echo again", joins=True) == (0, "again\n")


def test_status_tells_what_is_known(kata):
    with running_pod(kata, POD_CONFIG) as pod:
        info = pod.info()

        assert int(info["machine_pid"]) == pod.pid
        assert "virtiofsd" in harness.read(f"/proc/{info['virtiofsd_pid']}/cmdline")
        assert info["accelerator"] in ("kvm", "tcg")
        assert info["started_by"] in ("template", "boot")
        assert info["hypervisor"] == "qemu"
        assert int(info["memory_mib"]) > MEMORY >> 20
        assert info["guest_kernel"][0].isdigit()
        assert info["containers"] == "0"


def test_metrics_are_of_all_containers(kata):
    with running_pod(kata) as pod:
        def usage():
            metric = decode(pod.call("SandboxMetrics")[1])
            assert metric[2].decode() == pod.identity
            data = decode(metric[3])
            of_cpu = decode(decode(data[2])[3 if b"v1" in data[1] else 2])
            return decode(of_cpu[1]).get(1, 0) if b"v1" in data[1] else of_cpu.get(1, 0)

        before = usage()
        pod.run("a", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")

        assert usage() > before


def pids_of(pod):
    """How many processes the pod has by its statistics."""
    metric = decode(pod.call("SandboxMetrics")[1])
    data = decode(decode(metric[3])[2])
    return decode(data.get(2 if b"v1" in decode(metric[3])[1] else 1, b"")).get(1, 0)


def test_pids_are_shared_only_where_the_pod_asks_for_it(kata):
    with running_pod(kata) as pod:
        sleeper = pod.create_container("a", pod.spec(["sleep", "31415"], own_pids=False))
        pod.shim.call("Start", {1: sleeper})
        assert pod.run("b", "sh", "-c", LOOK, own_pids=False)[0] == 0
        # As in any pod: nothing of the guest's own, and process 1 reaps for all.
        status, first = pod.run("c", "sh", "-c", "cat /proc/1/comm; ps -o comm | grep -c kthreadd", own_pids=False)
        assert (status, first) == (1, "pause\n0\n")
        assert pod.run("d", "sh", "-c", LOOK)[0] == 1

        pod.shim.kill(sleeper, signal.SIGKILL, every=True)
        assert pod.shim.wait(sleeper) == ENDED_STATUS
        assert pod.state() == READY


@pytest.mark.parametrize("pids, held", [(OF_CONTAINER, 0), (OF_POD, 1)])
def test_only_a_pod_with_namespaces_of_its_own_has_a_process_that_holds_them(kata, pids, held):
    with running_pod(kata, {8: {2: {1: {2: pids}}}}) as pod:
        assert pids_of(pod) == held


def test_pod_with_a_user_namespace(kata):
    users = {1: 0, 2: MAPPING, 3: MAPPING}
    show = "cat /proc/self/uid_map; id -u; for n in user ipc; do readlink /proc/self/ns/$n; done"
    with running_pod(kata, {8: {2: {1: {2: OF_CONTAINER, 5: users}}, 3: {1: "kernel.shm_rmid_forced", 2: "1"}}}) as pod:
        status, first = pod.run("a", "sh", "-c", show, user=True)
        assert status == 0, first
        lines = first.split("\n")
        assert lines[0].split() == ["0", "100000", "65536"]
        assert lines[1] == "0"
        assert pod.run("b", "sh", "-c", show, user=True) == (0, first)
        assert pod.run("c", "cat", "/proc/sys/kernel/shm_rmid_forced", user=True) == (0, "1\n")
        # Root there has no power over what is not its own.
        assert pod.run("d", "sh", "-c", "hostname other; echo 0 >/proc/sys/kernel/panic", user=True)[0] != 0


def test_pod_ends_with_the_process_that_holds_its_namespaces(kata):
    with running_pod(kata) as pod:
        waiting = pod.begin("WaitSandbox")
        identity = pod.create_container("a", pod.spec(["sleep", "1000"], own_pids=False))
        pod.shim.call("Start", {1: identity})
        killer = pod.create_container("b", pod.spec(["kill", "-TERM", "1"], own_pids=False))
        pod.shim.call("Start", {1: killer})

        assert pod.shim.finish(waiting)[1] == ENDED_STATUS
        assert pod.shim.wait(identity) == ENDED_STATUS
        assert pod.state() == NOT_READY
        for ended in (identity, killer):
            pod.shim.call("Delete", {1: ended})


def test_machine_that_dies_is_told_of(kata):
    with running_pod(kata) as pod:
        waiting = pod.begin("WaitSandbox")
        identity = pod.create_container("a", pod.spec(["sleep", "1000"]))
        pod.shim.call("Start", {1: identity})

        os.kill(pod.pid, signal.SIGKILL)

        assert pod.shim.finish(waiting)[1] == ENDED_STATUS
        assert pod.shim.wait(identity) == ENDED_STATUS
        assert pod.state() == NOT_READY
        assert error_of(pod.call, "PingSandbox") == FAILED_PRECONDITION
        pod.shim.call("Delete", {1: identity})


def test_start_that_fails_leaves_nothing_after_the_shutdown(kata):
    options = encode({1: OPTIONS_TYPE, 2: {3: '[hypervisor.qemu]\nkernel = "/there-is-no-such/kernel"\n'}})
    with pod_of(kata, options) as pod:
        pod.create()
        assert error_of(pod.create) == ALREADY_EXISTS
        with pytest.raises(CallError, match="/there-is-no-such/kernel"):
            pod.start()
        assert pod.state() == NOT_READY


def test_shim_that_is_killed_leaves_nothing_after_its_delete(kata):
    pod = Pod(kata)
    try:
        pod.create()
        pod.start()
        harness.kill(kata.shim_pids(pod.identity))
        assert pod.shim.wait_closed()
    finally:
        assert decode(pod.run_shim(pod.identity, "delete"))[2] == ENDED_STATUS
        pod.remove()

    assert not kata.qemu_pids(pod.identity)


@pytest.mark.parametrize("whom", ["shim", "all"])
@pytest.mark.parametrize("seconds", [0.3, 1, 1.3, 1.6])
def test_a_kill_while_a_pod_starts_leaves_nothing_after_its_delete(kata, seconds, whom):
    """Of a pod whose namespaces a process holds; so long after StartSandbox."""
    pod = Pod(kata)
    try:
        pod.create()
        pod.begin("StartSandbox")
        time.sleep(seconds)
        machines = [*kata.qemu_pids(pod.identity), *harness.processes("virtiofsd --fd", pod.identity)] if whom == "all" else []
        harness.kill([*kata.shim_pids(pod.identity), *machines])
        assert pod.shim.wait_closed()
    finally:
        pod.run_shim(pod.identity, "delete")
        pod.remove()


def test_a_kill_in_the_shims_last_second_leaves_nothing(kata):
    """After its answer to ShutdownSandbox it waits for its callers to go."""
    pod = Pod(kata)
    try:
        pod.create()
        pod.start()
        pod.call("ShutdownSandbox")
        harness.kill(kata.shim_pids(pod.identity))
        assert pod.shim.wait_closed()
    finally:
        pod.run_shim(pod.identity, "delete")
        pod.remove()
