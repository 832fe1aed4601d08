# SPDX-License-Identifier: Apache-2.0
"""Pods that containerd 2 runs without a sandbox container (`sandboxer = "shim"`), asked for through CRI as the kubelet does."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

import harness
from ttrpc_client import decode, decode_all, encode

SOURCES = harness.REPOSITORY / "test/cri-call"
CACHE = pathlib.Path(os.environ.get("KATA_CACHE_DIR", "/var/cache/kata-containers-build"))
BUILD_SECONDS = 900
PLUGINS = "/usr/lib/cni"
HANDLER = "kata"
OF_POD, OF_CONTAINER = 0, 1  # modes of a namespace
READY, NOT_READY = 0, 1      # states of a pod
RUNNING, EXITED = 1, 2       # states of a container
ENDED_STATUS = 137
NAME_SIZE = 20  # what a long id leaves in the name of its machine
LOOK = "ps -o args | grep -q 'sleep 3141[5]'"
NETWORK = {"cniVersion": "0.4.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": True,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
CONFIGURATION = """
version = 3
root = "{0}/root"
state = "{0}/state"
[grpc]
  address = "{1}"
[debug]
  level = "debug"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{2}"]
    conf_dir = "{0}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "kata"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]
      runtime_type = "io.containerd.kata.v2"
      sandboxer = "shim"
"""


def major_version():
    if shutil.which(harness.CONTAINERD) is None:
        return 0
    text = subprocess.run([harness.CONTAINERD, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(re.search(r" v?(\d+)\.\d+", text)[1])


pytestmark = pytest.mark.skipif(major_version() < 2, reason="the Sandbox API is containerd 2's")


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    path = tmp_path_factory.mktemp("cri-call") / "cri-call"
    environment = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", CGO_ENABLED="0",
                       GOCACHE=str(CACHE / "go"))
    done = subprocess.run(["go", "build", "-o", path, "."], cwd=SOURCES, env=environment, capture_output=True, text=True,
                          timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return path


class CriContainerd(harness.Containerd):
    """A containerd with CRI, in a network namespace of its own: the plugins make their bridge there."""

    def __init__(self, directory, prefix, token, caller):
        super().__init__(directory, prefix, token)
        self.caller = caller
        self.namespace = "k8s.io"
        self.wrapper = ("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")

    def configuration(self):
        networks = self.directory / "cni"
        networks.mkdir(exist_ok=True)
        plugins = [{**plugin, "ipam": {**plugin["ipam"], "dataDir": str(self.directory / "ipam")}}
                   for plugin in NETWORK["plugins"]]
        (networks / "10-pods.conflist").write_text(json.dumps({**NETWORK, "plugins": plugins}), encoding="utf-8")
        return CONFIGURATION.format(self.directory, self.address, PLUGINS)

    def call(self, method, fields):
        """The bytes of the answer."""
        done = subprocess.run([self.caller, self.address, f"runtime.v1.RuntimeService/{method}"], input=encode(fields),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.COMMAND_SECONDS, check=False)
        assert done.returncode == 0, f"{method}: {done.stderr.decode()}\n{self.log_tail()}"
        return done.stdout


class Pod:
    def __init__(self, cri, name, pids=OF_CONTAINER):
        self.cri = cri
        self.pids = pids
        self.config = {1: {1: name, 2: f"{name}-uid", 3: "default"}, 2: name,
                       4: {1: "192.0.2.53", 2: "pods.test"},
                       8: {2: {1: {1: OF_POD, 2: pids, 3: OF_POD}}, 3: {1: "net.core.somaxconn", 2: "321"}}}
        self.identity = decode(cri.call("RunPodSandbox", {1: self.config, 2: HANDLER}))[1].decode()

    def status(self, verbose=False):
        answer = self.cri.call("PodSandboxStatus", {1: self.identity, 2: int(verbose)})
        info = [decode(value) for field, value in decode_all(answer) if field == 2]
        return decode(decode(answer)[1]), {entry[1].decode(): entry[2].decode() for entry in info}

    def state(self):
        return self.status()[0].get(3, READY)

    def create(self, name, *command):
        config = {1: {1: name}, 2: {1: self.cri.image}, 3: list(command),
                  15: {2: {3: {1: OF_POD, 2: self.pids, 3: OF_POD}}}}
        answer = self.cri.call("CreateContainer", {1: self.identity, 2: config, 3: self.config})
        return decode(answer)[1].decode()

    def start(self, name, *command):
        identity = self.create(name, *command)
        self.cri.call("StartContainer", {1: identity})
        return identity

    def container(self, identity):
        return decode(decode(self.cri.call("ContainerStatus", {1: identity}))[1])

    def exec(self, identity, *command):
        answer = decode(self.cri.call("ExecSync", {1: identity, 2: list(command), 3: 60}))
        return answer.get(3, 0), answer.get(1, b"").decode()

    def stop(self):
        self.cri.call("StopPodSandbox", {1: self.identity})

    def remove(self):
        self.cri.call("RemovePodSandbox", {1: self.identity})


@pytest.fixture(scope="module")
def cri(prefix, caller):
    token = f"kc{os.getpid()}z"
    containerd = CriContainerd(f"/run/{token}", prefix, token, caller)
    containerd.start()
    try:
        containerd.import_busybox()
        yield containerd
    finally:
        containerd.stop()
        subprocess.run(["umount", "-R", containerd.directory], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(containerd.directory, ignore_errors=True)


@contextlib.contextmanager
def pod_of(cri, name, **more):
    sockets = cri.shim_sockets()
    pod = Pod(cri, name, **more)
    try:
        yield pod
    finally:
        pod.stop()
        pod.remove()
    harness.wait_for(lambda: not cri.shim_pids(pod.identity) and not cri.qemu_pids(pod.identity[:NAME_SIZE]), "the shim to end")
    assert not cri.wait_clean(sockets)
    left = [path for path in (cri.directory / "state").glob(f"*/k8s.io/*{pod.identity}*")]
    assert not left


def test_pod_of_two_containers(cri):
    with pod_of(cri, "two") as pod:
        status, info = pod.status(verbose=True)
        address = decode(status[5])[1].decode()
        assert pod.state() == READY
        assert address.startswith("10.88.")
        assert int(info["machine_pid"]) in cri.qemu_pids(pod.identity[:NAME_SIZE])
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
            harness.wait_for(lambda: pod.container(identity).get(3, 0) == EXITED, "the container to end")
            assert pod.container(identity)[7] == 4
            cri.call("RemoveContainer", {1: identity})
        assert pod.state() == READY


def test_pod_that_shares_its_pids(cri):
    with pod_of(cri, "pids", pids=OF_POD) as pod:
        pod.start("first", "sleep", "31415")
        second = pod.start("second", "sleep", "1000")

        assert pod.exec(second, "sh", "-c", LOOK)[0] == 0


def test_pod_whose_machine_dies_is_not_ready(cri):
    with pod_of(cri, "dies") as pod:
        identity = pod.start("first", "sleep", "1000")

        for pid in cri.qemu_pids(pod.identity[:NAME_SIZE]):
            os.kill(pid, signal.SIGKILL)

        harness.wait_for(lambda: pod.state() == NOT_READY, "the pod to be not ready")
        harness.wait_for(lambda: pod.container(identity).get(3, 0) == EXITED, "the container to end")


def test_pod_outlives_containerd(cri):
    with pod_of(cri, "outlives") as pod:
        identity = pod.start("first", "sleep", "1000")

        cri.stop(signal.SIGKILL)
        cri.start()

        assert pod.state() == READY
        assert pod.container(identity).get(3, 0) == RUNNING
        assert pod.exec(identity, "hostname") == (0, "outlives\n")
