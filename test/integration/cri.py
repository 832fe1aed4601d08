# SPDX-License-Identifier: Apache-2.0
"""Pods as the kubelet asks for them: a containerd with CRI, and its answers. Field numbers are those of runtime.v1."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import harness
from ttrpc_client import decode, decode_all, encode

DROP_INS = harness.REPOSITORY / "configs/containerd"
SOURCES = harness.REPOSITORY / "test/cri-call"
CACHE = pathlib.Path(os.environ.get("KATA_CACHE_DIR", "/var/cache/kata-containers-build"))
BUILD_SECONDS = 900
SANDBOX_IMAGE = "localhost/pause:latest"  # for runc: here it is never run
PLUGINS = "/usr/lib/cni"
KATA, RUNC = "kata", "runc"  # handlers
OF_POD, OF_CONTAINER, OF_NODE = 0, 1, 2  # modes of a namespace
TCP = 0
READY, NOT_READY = 0, 1                  # states of a pod
RUNNING, EXITED = 1, 2                   # states of a container
NAME_SIZE = 20  # what a long id leaves in the name of its machine
NETWORK = {"cniVersion": "0.4.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": True,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": True}}]}
COMMON = """
root = "{directory}/root"
state = "{directory}/state"
[grpc]
  address = "{address}"
[debug]
  level = "debug"
"""
# Of containerd 1 and of containerd 2.
CONFIGURATIONS = {1: "version = 2" + COMMON + """
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
{runtime}
""", 2: "version = 3" + COMMON + """
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{image}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
{runtime}
"""}


class CallError(Exception):
    pass


def major_version():
    if shutil.which(harness.CONTAINERD) is None:
        return 0
    text = subprocess.run([harness.CONTAINERD, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(re.search(r" v?(\d+)\.\d+", text)[1])


def drop_in_runtime(version):
    """The table of the runtime in the drop-in for containerd's configuration."""
    text = harness.read(DROP_INS / f"config-v{version + 1}.toml")
    table, = re.findall(r"^\[\S+\.runtimes\.kata\]\n(?:  .*\n)+", text, re.MULTILINE)
    return table


def build_caller(directory):
    path = directory / "cri-call"
    environment = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", CGO_ENABLED="0",
                       GOCACHE=str(CACHE / "go"))
    done = subprocess.run(["go", "build", "-o", path, "."], cwd=SOURCES, env=environment, capture_output=True, text=True,
                          timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return path


class CriContainerd(harness.Containerd):
    """A containerd with CRI, in a network namespace of its own: the plugins make their bridge there."""

    def __init__(self, directory, prefix, token, caller, sandboxer="podsandbox"):
        super().__init__(directory, prefix, token)
        self.caller = caller
        self.sandboxer = sandboxer
        self.namespace = "k8s.io"
        self.wrapper = ("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")

    def configuration(self):
        networks = self.directory / "cni"
        networks.mkdir(exist_ok=True)
        bridge, *others = NETWORK["plugins"]
        plugins = [{**bridge, "ipam": {**bridge["ipam"], "dataDir": str(self.directory / "ipam")}}, *others]
        (networks / "10-pods.conflist").write_text(json.dumps({**NETWORK, "plugins": plugins}), encoding="utf-8")
        version = min(major_version(), 2)
        runtime = drop_in_runtime(version).replace('"podsandbox"', f'"{self.sandboxer}"')
        return CONFIGURATIONS[version].format(directory=self.directory, address=self.address, image=SANDBOX_IMAGE, plugins=PLUGINS,
                                              runtime=runtime)

    def in_its_network(self, *command):
        """(exit code, output) of a command on what is the node's side of the bridge."""
        done = subprocess.run(["nsenter", "--net", "--target", str(self.process.pid), *command], stdout=subprocess.PIPE, text=True,
                              timeout=harness.COMMAND_SECONDS, check=False)
        return done.returncode, done.stdout

    def call(self, method, fields):
        """The bytes of the answer."""
        done = subprocess.run([self.caller, self.address, f"runtime.v1.RuntimeService/{method}"], input=encode(fields),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.COMMAND_SECONDS, check=False)
        if done.returncode != 0:
            raise CallError(f"{method}: {done.stderr.decode()}\n{self.log_tail()}")
        return done.stdout


@contextlib.contextmanager
def containerd(prefix, directory, sandboxer="podsandbox"):
    """`directory`: for what is built; containerd has one of its own."""
    token = f"kc{os.getpid()}z"
    cri = CriContainerd(f"/run/{token}", prefix, token, build_caller(directory), sandboxer)
    cri.start()
    try:
        cri.import_busybox()
        cri.import_busybox(SANDBOX_IMAGE, "sleep 100000")
        sockets = cri.shim_sockets()
        yield cri
        assert not cri.wait_clean(sockets)
    finally:
        cri.stop()
        subprocess.run(["umount", "-R", cri.directory], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(cri.directory, ignore_errors=True)


class Pod:
    """`namespaces` of NamespaceOption, `more` of LinuxPodSandboxConfig, by their numbers. `ports`: {of the node: of the pod}."""

    def __init__(self, cri, name, pids=OF_CONTAINER, handler=KATA, namespaces=None, more=None, ports=None):
        self.cri = cri
        self.namespaces = {1: OF_POD, 2: pids, 3: OF_POD, **(namespaces or {})}
        self.logs = cri.directory / "logs" / name
        self.logs.mkdir(parents=True, exist_ok=True)
        self.config = {1: {1: name, 2: f"{name}-uid", 3: "default"}, 2: name, 3: str(self.logs),
                       4: {1: "192.0.2.53", 2: "pods.test"},
                       5: [{1: TCP, 2: inner, 3: outer} for outer, inner in (ports or {}).items()],
                       8: {2: {1: self.namespaces}, 3: {1: "net.core.somaxconn", 2: "321"}, **(more or {})}}
        self.identity = decode(cri.call("RunPodSandbox", {1: self.config, 2: handler}))[1].decode()

    def status(self, verbose=False):
        answer = self.cri.call("PodSandboxStatus", {1: self.identity, 2: int(verbose)})
        info = [decode(value) for field, value in decode_all(answer) if field == 2]
        return decode(decode(answer)[1]), {entry[1].decode(): entry[2].decode() for entry in info}

    def state(self):
        return self.status()[0].get(3, READY)

    def address(self):
        return decode(self.status()[0][5])[1].decode()

    def create(self, name, *command, resources=None, security=None, mounts=(), devices=()):
        config = {1: {1: name}, 2: {1: self.cri.image}, 3: list(command), 7: list(mounts), 8: list(devices), 11: f"{name}.log",
                  15: {1: resources or {}, 2: {3: self.namespaces, **(security or {})}}}
        answer = self.cri.call("CreateContainer", {1: self.identity, 2: config, 3: self.config})
        return decode(answer)[1].decode()

    def start(self, name, *command, **more):
        identity = self.create(name, *command, **more)
        self.cri.call("StartContainer", {1: identity})
        return identity

    def container(self, identity):
        return decode(decode(self.cri.call("ContainerStatus", {1: identity}))[1])

    def wait_exit(self, identity):
        """The exit code."""
        harness.wait_for(lambda: self.container(identity).get(3, 0) == EXITED, "the container to end")
        return self.container(identity).get(7, 0)

    def exec(self, identity, *command):
        answer = decode(self.cri.call("ExecSync", {1: identity, 2: list(command), 3: 60}))
        return answer.get(3, 0), answer.get(1, b"").decode()

    def log(self, name):
        """[(stream, text)] of a container."""
        lines = [line.split(" ", 3) for line in harness.read(self.logs / f"{name}.log").splitlines()]
        return [(stream, text) for _, stream, _, text in lines]

    def stop(self):
        self.cri.call("StopPodSandbox", {1: self.identity})

    def remove(self):
        self.cri.call("RemovePodSandbox", {1: self.identity})

    def machines(self):
        return self.cri.qemu_pids(self.identity[:NAME_SIZE])


@contextlib.contextmanager
def pod_of(cri, name, **more):
    """A pod for the body; nothing of it is there afterwards."""
    sockets = cri.shim_sockets()
    pod = Pod(cri, name, **more)
    try:
        yield pod
    finally:
        pod.stop()
        pod.remove()
    def left():
        return [line for line in cri.leftovers(sockets) if pod.identity[:NAME_SIZE] in line]
    harness.wait_for(lambda: not left(), f"the pod to leave nothing, {left()}")
    assert not list((cri.directory / "state").glob(f"*/k8s.io/*{pod.identity}*"))
