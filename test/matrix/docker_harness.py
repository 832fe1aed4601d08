# SPDX-License-Identifier: Apache-2.0
"""A dockerd of our own, on a containerd of our own, and `docker` around it.

As in the integration tests everything made carries the session's token, or the id of a container of ours: Docker gives
ids itself, so each `docker run` writes its into a file.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tarfile

import harness

DOCKERD = os.environ.get("KATA_TEST_DOCKERD", "dockerd")
DOCKER = os.environ.get("KATA_TEST_DOCKER", "docker")
NAMESPACE = "moby"
ID_LENGTH = 20  # of an id, that is in the machine's command line and in its cgroups' names
START_SECONDS = 120
SHORT_NAME, SHORT_NAME_MEMORY = "kata", 400  # MiB


class Docker(harness.Containerd):
    """One dockerd and its containerd with everything below `directory`, using the shim of `prefix`."""

    # Of dockerd, and what `docker run` says first.
    network_options = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
                       "--ip-masq=false")
    network = "none"
    place = ()  # what runs it elsewhere

    def __init__(self, directory, prefix, token):
        super().__init__(directory, prefix, token)
        self.host = f"unix://{self.directory}/docker.sock"
        self.daemon = None
        self.daemon_log = self.directory / "dockerd.log"
        self._ids = self.directory / "ids"
        self._runs = 0
        self._mounts_before = set()

    def start(self):
        super().start()
        self._ids.mkdir(exist_ok=True)
        self.start_daemon()

    def documented_settings(self):
        """The runtime of a short name as docs/how-to.md has it, with a configuration of its own."""
        text = harness.read(harness.REPOSITORY / "docs/how-to.md")
        settings = json.loads(re.search(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1])
        config = self.directory / "short-name.toml"
        config.write_text(f"[hypervisor.qemu]\ndefault_memory = {SHORT_NAME_MEMORY}\n", encoding="utf-8")
        settings["runtimes"][SHORT_NAME]["options"]["ConfigPath"] = str(config)
        return settings

    def start_daemon(self):
        (self.directory / "daemon.json").write_text(json.dumps(self.documented_settings()), encoding="utf-8")  # not the host's
        command = [DOCKERD, "--config-file", self.directory / "daemon.json", "--data-root", self.directory / "docker",
                   "--exec-root", self.directory / "exec", "--pidfile", self.directory / "docker.pid",
                   "--host", self.host, "--group", "root", "--containerd", self.address, *self.network_options,
                   "--userland-proxy=false", "--storage-driver=overlay2", "--exec-opt", "native.cgroupdriver=cgroupfs",
                   "--live-restore"]
        command = [*self.place, *command]
        with open(self.daemon_log, "ab") as log:
            self.daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           start_new_session=True)
        harness.wait_for(lambda: self.daemon.poll() is not None or self.docker("version").code == 0,
                         "dockerd's answer", START_SECONDS)
        assert self.daemon.poll() is None, f"dockerd did not start: {harness.read(self.daemon_log)[-4000:]}"

    def stop_daemon(self, how=signal.SIGTERM):
        if self.daemon is not None:
            self.daemon.send_signal(how)
            self.daemon.wait(timeout=START_SECONDS)
            self.daemon = None

    def stop(self, how=signal.SIGTERM):
        try:
            self.stop_daemon(how)
        finally:
            super().stop(how)
            for line in reversed(self._token_mounts()):  # dockerd leaves its own root and network namespaces mounted
                subprocess.run(["umount", line.split()[4]], stderr=subprocess.DEVNULL, check=False)

    def import_busybox(self):
        """The project's image, whose one layer is a whole root file system."""
        archive = self.directory / "busybox.tar"
        subprocess.run([harness.REPOSITORY / "tools/make-busybox-image", archive, "--name", harness.IMAGE], check=True)
        with tarfile.open(archive) as tar:
            def document(digest):
                return tar.extractfile("blobs/sha256/" + digest.split(":")[1]).read()
            manifest = json.loads(document(json.load(tar.extractfile("index.json"))["manifests"][0]["digest"]))
            config = json.loads(document(manifest["config"]["digest"]))["config"]
            layer = document(manifest["layers"][0]["digest"])
        archive.unlink()
        changes = [word for entry in config["Env"] for word in ("--change", "ENV " + entry)]
        result = self.docker("import", *changes, "--change", "CMD " + json.dumps(config["Cmd"]), "-", harness.IMAGE,
                             stdin=layer)
        assert result.code == 0, result.err

    # --- docker ---

    def docker_command(self, *arguments):
        return ["env", f"DOCKER_CONFIG={self.directory}/client", DOCKER, "--host", self.host,
                *[str(a) for a in arguments]]

    def docker(self, *arguments, stdin=b"", timeout=harness.COMMAND_SECONDS):
        """Runs docker to its end. Output is bytes, errors are text. A timeout fails the test."""
        done = subprocess.run(self.docker_command(*arguments), input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, check=False)
        return harness.Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def run_command(self, *command, flags=()):
        self._runs += 1
        network = () if "--network" in flags else ("--network", self.network)
        return self.docker_command("run", "--runtime", harness.RUNTIME, *network, "--cidfile",
                                   self._ids / str(self._runs), *flags, harness.IMAGE, *command)

    def run(self, *command, flags=(), stdin=None):
        """`docker run --rm` of a command in a new container; `stdin` is given with -i."""
        flags = ("--rm", *flags) if stdin is None else ("--rm", "-i", *flags)
        done = subprocess.run(self.run_command(*command, flags=flags), input=stdin or b"", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=harness.COMMAND_SECONDS, check=False)
        return harness.Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    @contextlib.contextmanager
    def container(self, *command, flags=()):
        """A detached container; removed at the end of the block. The value is its id."""
        done = subprocess.run(self.run_command(*(command or ("sleep", "1000")), flags=("--detach", *flags)),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=harness.COMMAND_SECONDS, check=False)
        identity = (self._ids / str(self._runs)).read_text(encoding="utf-8")
        try:
            assert done.returncode == 0, done.stderr.decode(errors="replace") + self.log_tail()
            yield identity
        finally:
            self.docker("rm", "--force", identity)

    def exec(self, identity, *command, flags=(), stdin=b""):
        return self.docker("exec", *flags, identity, *command, stdin=stdin)

    def state(self, identity):
        """The State of `docker inspect`."""
        result = self.docker("inspect", "--format", "{{json .State}}", identity)
        assert result.code == 0, result.err
        return json.loads(result.out)

    def wait_exited(self, identity):
        """Waits for the container to have ended and returns its exit code."""
        harness.wait_for(lambda: self.state(identity)["Status"] == "exited", "the container to end")
        return self.state(identity)["ExitCode"]

    def containers(self):
        return self.docker("ps", "--all", "--quiet", "--no-trunc").out.decode().split()

    def ids(self):
        return [path.read_text(encoding="utf-8") for path in self._ids.iterdir()]

    def qemu_pids(self, identity):
        return super().qemu_pids(identity[:ID_LENGTH])

    # --- what is left ---

    def _words(self):
        """What is in the name of everything that is ours."""
        return [self.token, *(identity[:ID_LENGTH] for identity in self.ids())]

    def begin_test(self):
        """Forgets the containers of the tests before."""
        for path in self._ids.iterdir():
            path.unlink()
        self._mounts_before = set(self._token_mounts())

    def _token_mounts(self):
        return [line for line in harness.read("/proc/self/mountinfo").splitlines() if self.token in line]

    def _process_leftovers(self):
        own = {process.pid for process in (self.process, self.daemon) if process is not None}
        return [f"process {pid}: {line[:200]}" for word in self._words()
                for pid, line in harness.processes(word).items() if pid not in own]

    def _mount_leftovers(self):
        # dockerd's file for network namespaces of its own appears with the first container and stays.
        return [f"mount {line}" for line in harness.read("/proc/self/mountinfo").splitlines()
                if any(identity in line for identity in self.ids()) or
                (self.token in line and line not in self._mounts_before and "/netns/default" not in line)]

    def _socket_leftovers(self, before):
        return [f"shim socket {path}" for path in sorted(self.shim_sockets() - before)]

    def _cgroup_leftovers(self):
        return [f"cgroup {directory}" for directory in harness.cgroups_named(*self._words())]

    def _directory_leftovers(self):
        found = []
        for parent in (harness.KATA_RUN, harness.KATA_RUN / "shared", self.bundle("x").parent,
                       self.directory / "exec/containerd"):
            with contextlib.suppress(FileNotFoundError):
                found += [f"left in {parent}: {path.name}" for path in parent.iterdir()
                          if any(identity in path.name for identity in self.ids())]
        return found

    def bundle(self, identity):
        return self.directory / "state/io.containerd.runtime.v2.task" / NAMESPACE / identity

    def force_clean(self):
        """After a failed test: takes away by force what it left, so that the next test starts clean."""
        own = {process.pid for process in (self.process, self.daemon) if process is not None}
        for word in self._words():
            for pid in harness.processes(word):
                if pid not in own:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        for identity in self.containers():
            self.docker("rm", "--force", identity)
        for line in reversed(self._mount_leftovers()):
            subprocess.run(["umount", "-l", line.split()[5]], stderr=subprocess.DEVNULL, check=False)
        for parent in (harness.KATA_RUN, harness.KATA_RUN / "shared"):
            for identity in self.ids():
                subprocess.run(["rm", "-rf", "--one-file-system", parent / identity], check=False)
        for line in sorted(self._cgroup_leftovers(), reverse=True):
            with contextlib.suppress(OSError):
                pathlib.Path(line.split(" ", 1)[1]).rmdir()


class NetworkedDocker(Docker):
    """One whose bridges and filters are in a network namespace of its own, which plays the host."""

    network_options = ()
    network = "bridge"

    def __init__(self, directory, prefix, token):
        super().__init__(directory, prefix, token)
        self.node = f"{token}-node"
        self.place = ("nsenter", f"--net=/run/netns/{self.node}")

    def start(self):
        subprocess.run(["ip", "netns", "add", self.node], check=True)
        subprocess.run(["ip", "-n", self.node, "link", "set", "lo", "up"], check=True)
        super().start()

    def stop(self, how=signal.SIGTERM):
        try:
            super().stop(how)
        finally:
            subprocess.run(["ip", "netns", "del", self.node], check=False)

    def on_node(self, *words):
        return subprocess.run(["ip", "netns", "exec", self.node, *[str(word) for word in words]], check=False,
                              stdout=subprocess.PIPE, timeout=harness.COMMAND_SECONDS).stdout
