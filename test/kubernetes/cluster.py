# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes of one node: etcd, the API's server, its controllers, the scheduler, the kubelet and containerd.

Lives in the namespaces that test/kubernetes/run has made, and so may use fixed ports and paths: nobody else is there.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import urllib.request

import cri
import harness

NODE, ADDRESS = "kata-node", "10.77.0.2"
API = "https://127.0.0.1:6443"
ETCD = "http://127.0.0.1:2379"
RUN = pathlib.Path("/run/containerd")
IMAGE = "localhost/busybox:1"
PAUSE = "k8s.gcr.io/pause:3.2"  # the kubelet's own, so that it is kept
CNI_NAME = "10-pods.conflist"
KATA, RUNC = cri.KATA, cri.RUNC
# With KATA_RUNTIME=io.containerd.runc.v2 the class is runc's, to see whether a test is right.
IS_KATA = harness.RUNTIME.startswith("io.containerd.kata")
START_SECONDS = 180
WAIT_SECONDS = 300  # for what the kubelet does of its own accord: it looks again each minute for some of it
STOP_SECONDS = 60
USERS = {"admin": "system:masters", "controllers": "system:masters", "scheduler": "system:masters",
         f"system:node:{NODE}": "system:nodes"}
CONTAINERD = """
version = 2
root = "{work}/containerd"
state = "{run}"
[grpc]
  address = "{run}/containerd.sock"
[debug]
  level = "debug"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{work}/networks"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
{kata}
"""


def kubelet_configuration(work, more):
    return {
        "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs", "cgroupRoot": os.environ["KATA_KUBERNETES_CGROUP"], "enforceNodeAllocatable": [],
        "failSwapOn": False, "makeIPTablesUtilChains": False, "hairpinMode": "none", "resolvConf": "",
        "volumePluginDir": f"{work}/plugins",
        # Of the whole host, on which others live too: only a test of its own may meet them.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "syncFrequency": "10s", "nodeStatusUpdateFrequency": "5s", "evictionPressureTransitionPeriod": "5s",
        **more,
    }


def run_client(command, stdin=b"", timeout=WAIT_SECONDS):
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
    return harness.Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


class Cluster:
    def __init__(self):
        self.work = pathlib.Path(os.environ["KATA_KUBERNETES_WORK"])
        self.programs = pathlib.Path(os.environ["KATA_KUBERNETES_PROGRAMS"])
        self.cgroup = os.environ["KATA_KUBERNETES_CGROUP"]
        self.parts = {}  # name → process, in the order of their starts
        self.kubelet_settings = {}

    # --- parts ---

    def start(self):
        (self.work / "etcd").mkdir(mode=0o700)
        self._write_users()
        self.start_containerd()
        self._import_images()
        self._run("etcd", "etcd", "--data-dir", self.work / "etcd", "--listen-client-urls", ETCD,
                  "--advertise-client-urls", ETCD, "--unsafe-no-fsync")
        self._start_api()
        self._run("controllers", "kube-controller-manager", *self._as_user("controllers"),
                  "--leader-elect=false", "--port=0", "--cert-dir", self.work / "users",
                  "--root-ca-file", self.work / "api/apiserver.crt",
                  "--service-account-private-key-file", self.work / "users/tokens.key")
        self._run("scheduler", "kube-scheduler", *self._as_user("scheduler"), "--cert-dir", self.work / "users",
                  "--leader-elect=false", "--port=0")
        self.start_kubelet()
        self._wait_for("a ready node", self.is_node_ready)
        answer = self.kubectl("apply", "--filename=-", stdin=runtime_class())
        assert answer.code == 0, answer.err

    def start_containerd(self):
        networks = self.work / "networks"
        networks.mkdir(exist_ok=True)
        (networks / CNI_NAME).write_text(json.dumps(cri.NETWORK), encoding="utf-8")
        configuration = self.work / "containerd.toml"
        configuration.write_text(CONTAINERD.format(
            work=self.work, run=RUN, pause=PAUSE, plugins=cri.PLUGINS,
            kata=cri.drop_in_runtime(1)), encoding="utf-8")
        self._run("containerd", harness.CONTAINERD, "--config", configuration)
        self._wait_for("containerd's answer", lambda: self.ctr("version").code == 0)

    def start_kubelet(self):
        configuration = self.work / "kubelet.json"
        configuration.write_text(json.dumps(kubelet_configuration(self.work, self.kubelet_settings)), encoding="utf-8")
        self._run("kubelet", "kubelet", "--config", configuration,
                  "--kubeconfig", self.user_file(f"system:node:{NODE}"),
                  "--container-runtime=remote", f"--container-runtime-endpoint=unix://{RUN}/containerd.sock",
                  "--hostname-override", NODE, "--node-ip", ADDRESS, "--v=3")

    def _start_api(self):
        keys = self.work / "users/tokens"
        for words in (f"genrsa -out {keys}.key 2048", f"rsa -in {keys}.key -pubout -out {keys}.pub"):
            subprocess.run(["openssl", *words.split()], stderr=subprocess.DEVNULL, check=True)
        self._run("api", "kube-apiserver", "--etcd-servers", ETCD, "--cert-dir", self.work / "api",
                  "--bind-address=0.0.0.0", "--advertise-address", ADDRESS,
                  "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
                  "--token-auth-file", self.work / "users/tokens.csv", "--authorization-mode=Node,RBAC",
                  "--enable-admission-plugins=NodeRestriction", "--kubelet-preferred-address-types=InternalIP",
                  "--service-account-issuer=https://kubernetes.default.svc",
                  "--service-account-signing-key-file", f"{keys}.key", "--service-account-key-file", f"{keys}.pub")
        self._wait_for("the API", self._is_api_ready)

    def _is_api_ready(self):
        request = urllib.request.Request(f"{API}/readyz", headers={"Authorization": "Bearer of-admin"})
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with contextlib.suppress(OSError), urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return answer.status == 200
        return False

    def is_node_ready(self):
        return self.node_condition("Ready")

    def node_condition(self, name):
        path = f'{{.status.conditions[?(@.type=="{name}")].status}}'
        return self.kubectl("get", "node", NODE, "--output", f"jsonpath={path}").out == b"True"

    def _wait_for(self, what, condition):
        def is_done():
            for name, process in self.parts.items():
                assert process.poll() is None, f"{name} has ended with {process.returncode}: {self.log_tail(name)}"
            return condition()
        harness.wait_for(is_done, what, START_SECONDS)

    def _run(self, name, *command):
        environment = dict(os.environ, AWS_EC2_METADATA_DISABLED="true")
        with open(self.work / f"{name}.log", "ab") as log:
            self.parts[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                env=environment, start_new_session=True)

    def end_part(self, name, how=signal.SIGTERM):
        process = self.parts.pop(name)
        process.send_signal(how)
        process.wait(STOP_SECONDS)

    def stop(self):
        for name in reversed(list(self.parts)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.end_part(name)

    def log_tail(self, name, lines=20):
        return "\n".join(line[:300] for line in harness.read(self.work / f"{name}.log").splitlines()[-lines:])

    # --- who may do what ---

    def _write_users(self):
        folder = self.work / "users"
        folder.mkdir()
        with open(folder / "tokens.csv", "w", encoding="utf-8") as tokens:
            for user, group in USERS.items():
                tokens.write(f'{self._token(user)},{user},{user},"{group}"\n')
        for user in USERS:
            self.user_file(user).write_text(json.dumps({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": API, "insecure-skip-tls-verify": True}}],
                "users": [{"name": user, "user": {"token": self._token(user)}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            }), encoding="utf-8")

    @staticmethod
    def _token(user):
        return f"of-{user}"

    def user_file(self, user):
        return self.work / "users" / re.sub(r"\W", "-", user)

    def _as_user(self, user):
        return [f"--{flag}kubeconfig={self.user_file(user)}" for flag in ("", "authentication-", "authorization-")]

    # --- clients ---

    def kubectl_command(self, *arguments):
        return ["kubectl", f"--kubeconfig={self.user_file('admin')}", *arguments]

    def kubectl(self, *arguments, stdin=b"", timeout=WAIT_SECONDS):
        return run_client(self.kubectl_command(*arguments), stdin, timeout)

    def ctr(self, *arguments):
        return run_client([harness.CTR, "--namespace=k8s.io", *arguments])

    def _import_images(self):
        self.import_image(IMAGE)
        self.import_image(PAUSE, "--add", f"{self.programs}/pause:/pause", "--entrypoint", "/pause", "--command", "")

    def import_image(self, name, *flags):
        archive = self.work / "image.tar"
        subprocess.run([harness.REPOSITORY / "tools/make-busybox-image", archive, "--name", name, *flags], check=True)
        answer = self.ctr("image", "import", archive)
        assert answer.code == 0, answer.err
        archive.unlink()

    @staticmethod
    def machines():
        """Pids of the pods' machines."""
        return list(harness.processes("qemu-system-", "-name"))

    # --- what is left ---

    def leftovers(self):
        """One line per thing of a pod that is there. With no pod there must be none."""
        found = []
        for word in ("qemu-system-", "virtiofsd", "containerd-shim-"):
            found += [f"process {pid}: {line[:200]}" for pid, line in harness.processes(word).items()]
        places = ("/run/kata", "/var/lib/kubelet/pods", f"{RUN}/io.containerd", "/run/netns/")
        found += [f"mount {line}" for line in harness.read("/proc/self/mountinfo").splitlines()
                  if any(place in line for place in places)]
        # Version 2's tree stands beside those that are used, and there the kubelet forgets the pods' own.
        roots = pathlib.Path("/sys/fs/cgroup").glob(f"*{self.cgroup}")
        cgroups = run_client(["find", *roots, "-type", "d", "(", "-path", "*/pod*/*",
                              "-o", "-name", "pod*", "!", "-path", "/sys/fs/cgroup/unified/*", ")"]).out.decode()
        found += [f"cgroup {path}" for path in cgroups.splitlines()]
        bundles = RUN / "io.containerd.runtime.v2.task/k8s.io"
        for folder in (pathlib.Path("/run/netns"), harness.KATA_RUN / "shared", harness.KATA_SHORT, bundles):
            with contextlib.suppress(FileNotFoundError):
                found += [f"left {path}" for path in folder.iterdir()]
        return found

    def wait_clean(self):
        """What is still there after a generous time."""
        with contextlib.suppress(AssertionError):
            harness.wait_for(lambda: not self.leftovers(), "nothing to be left", WAIT_SECONDS)
        return self.leftovers()



def runtime_class():
    """The RuntimeClass that is shipped."""
    text = harness.read(harness.REPOSITORY / "configs/kubernetes/runtimeclass.yaml")
    if not IS_KATA:
        text = text.replace(f"handler: {KATA}", f"handler: {RUNC}")
    return text.encode()


@contextlib.contextmanager
def running():
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
