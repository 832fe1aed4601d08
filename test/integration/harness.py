# SPDX-License-Identifier: Apache-2.0
"""A containerd of our own for the tests, `ctr` around it, and the search for what a test left behind.

Everything a session makes carries its token: the run directory is /run/TOKEN, every container id begins with TOKEN.
So a process, mount, socket, cgroup or directory with the token in it is ours, whatever else runs on the machine.
"""
import collections
import concurrent.futures
import contextlib
import copy
import fcntl
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time

IMAGE = "localhost/busybox:latest"
RUNTIME = os.environ.get("KATA_RUNTIME", "io.containerd.kata.v2")
# Programs of another version than the host's: test/matrix/run sets them.
CONTAINERD = os.environ.get("KATA_TEST_CONTAINERD", "containerd")
CTR = os.environ.get("KATA_TEST_CTR", "ctr")
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
KATA_RUN = pathlib.Path("/run/kata-containers")
KATA_SHORT = pathlib.Path("/run/kata-vm")
SHIM_SOCKETS = pathlib.Path("/run/containerd/s")
NAMESPACE = "default"
COMMAND_SECONDS = 180  # a machine without virtualization, loaded by other tests
SETTLE_SECONDS = 30    # until everything of a removed container must be gone

Result = collections.namedtuple("Result", "code out err")


def wait_for(condition, what, seconds=COMMAND_SECONDS):
    """Polls until `condition()` is true and returns its value; fails the test with `what` otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


def read(path):
    """The text of a /proc file; empty when it has gone."""
    try:
        return pathlib.Path(path).read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def processes(*words):
    """{pid: command line} of all processes with each of the words in their command line."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            line = read(f"/proc/{entry}/cmdline")
            if line and all(word in line for word in words):
                found[int(entry)] = line.strip()
    return found


def cgroups_named(*words):
    """The directories of all cgroups with one of the words in their name."""
    names = [part for word in words for part in ("-o", "-name", f"*{word}*")][1:]
    # find, since a walk of Python's recurses, and cgroups may lie thousands deep.
    found = subprocess.run(["find", "/sys/fs/cgroup", "-type", "d", "(", *names, ")"], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return found.splitlines()


def kill(pids, number=signal.SIGKILL):
    """Sends the signal to each of the processes that is still there: one often ends because of another. One must be."""
    reached = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            reached += 1
    assert reached, "nobody was there to get the signal"


class Containerd:
    """One containerd with everything below `directory`, using the shim of `prefix`."""

    def __init__(self, directory, prefix, token):
        self.directory = pathlib.Path(directory)
        self.prefix = pathlib.Path(prefix)
        self.token = token
        self.address = str(self.directory / "containerd.sock")
        self.log = self.directory / "containerd.log"
        self.process = None
        self.wrapper = ()  # words before containerd's own command; it must end with an exec of them
        self.namespace = NAMESPACE
        self.runtime = RUNTIME
        self.image = IMAGE
        self._count = 0

    def sibling(self, namespace):
        """The same containerd, with another namespace."""
        other = copy.copy(self)
        other.namespace = namespace
        other.import_busybox()
        return other

    def start(self):
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        config = self.directory / "config.toml"
        config.write_text(self.configuration(), encoding="utf-8")
        environment = dict(os.environ, PATH=f"{self.prefix}/bin:{os.environ['PATH']}")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.wrapper, CONTAINERD, "--config", str(config)], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=environment, start_new_session=True)
        wait_for(lambda: self.process.poll() is not None or self.ctr("version").code == 0, "containerd's answer", 60)
        assert self.process.poll() is None, f"containerd did not start: {self.log_tail()}"

    def configuration(self):
        return (f'version = 2\nroot = "{self.directory}/root"\nstate = "{self.directory}/state"\n'
                'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
                f'[grpc]\n  address = "{self.address}"\n[debug]\n  level = "debug"\n')

    def stop(self, how=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
            self.process = None

    def log_tail(self, lines=40):
        return "\n".join(read(self.log).splitlines()[-lines:])

    def import_busybox(self, name=IMAGE, command="/bin/sh"):
        archive = self.directory / "busybox.tar"
        subprocess.run([REPOSITORY / "tools/make-busybox-image", archive, "--name", name, "--command", command], check=True)
        # With another snapshotter than containerd's own, which ctr takes from there too, it is unpacked when it is used.
        unpack = ("--no-unpack",) if "CONTAINERD_SNAPSHOTTER" in os.environ else ()
        result = self.ctr("image", "import", *unpack, str(archive))
        assert result.code == 0, result.err
        archive.unlink()

    # --- ctr ---

    def command(self, *arguments):
        return [CTR, "--address", self.address, "--namespace", self.namespace, *[str(a) for a in arguments]]

    def ctr(self, *arguments, stdin=b"", timeout=COMMAND_SECONDS):
        """Runs ctr to its end. Output is bytes, errors are text. A timeout fails the test."""
        done = subprocess.run(self.command(*arguments), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout, check=False)
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def new_id(self, word="c"):
        """A fresh container id. The token is in its first 20 characters: that is what libvirt keeps for cgroups."""
        self._count += 1
        return f"{self.token}-{self._count}{word}"

    def run_command(self, *command, flags=(), identity=None):
        return self.command("run", "--rm", "--runtime", self.runtime, "--fifo-dir", self.directory / "fifo", *flags,
                            self.image, identity or self.new_id(), *command)

    def run(self, *command, flags=(), stdin=None, identity=None, timeout=COMMAND_SECONDS):
        """`ctr run --rm` of a command in a new container.

        `stdin` is given through a pipe. Its end comes when the task runs: ctr 1.6 forgets an end that it
        sees before its Create call has returned.
        """
        identity = identity or self.new_id()
        client = subprocess.Popen(self.run_command(*command, flags=flags, identity=identity),
                                  stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if stdin is not None:
            threading.Thread(target=self._feed, args=(client, identity, stdin), daemon=True).start()
        expired = threading.Event()
        watchdog = threading.Timer(timeout, lambda: (expired.set(), client.kill()))
        with client:
            try:
                # communicate() would close stdin at once, so both outputs are read here.
                with concurrent.futures.ThreadPoolExecutor(2) as pool:
                    outputs = [pool.submit(stream.read) for stream in (client.stdout, client.stderr)]
                    watchdog.start()
                    out, err = (output.result() for output in outputs)
                code = client.wait()
            finally:
                watchdog.cancel()
        assert not expired.is_set(), f"ctr run {command} took more than {timeout} s: {out[-200:]!r} {err[-200:]!r}"
        return Result(code, out, err.decode(errors="replace"))

    def _feed(self, client, identity, data):
        with contextlib.suppress(BrokenPipeError, AssertionError):
            client.stdin.write(data)
            client.stdin.flush()
            wait_for(lambda: client.poll() is not None or self.tasks().get(identity, (0, "UNKNOWN"))[1] in
                     ("RUNNING", "STOPPED"), "the task to run")
        with contextlib.suppress(BrokenPipeError):
            client.stdin.close()

    def configured(self, name, text):
        """Flags of `ctr run` for a configuration that has `text` besides."""
        path = self.directory / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return "--runtime-config-path", path

    def letting(self, kind):
        """Flags of `ctr run` with which a container without a namespace of that kind has the machine's own."""
        return self.configured(f"host-{kind}", f'[runtime]\nhost_{kind} = "machine"\n')

    def run_config(self, spec, identity=None, flags=(), timeout=COMMAND_SECONDS):
        """`ctr run --rm` of a whole OCI configuration."""
        identity = identity or self.new_id()
        path = self.directory / f"{identity}.json"
        path.write_text(json.dumps(spec), encoding="utf-8")
        try:
            return self.ctr("run", "--rm", "--runtime", self.runtime, "--fifo-dir", self.directory / "fifo",
                            *flags, "--config", path, identity, timeout=timeout)
        finally:
            path.unlink()

    def default_spec(self, *command, flags=()):
        """The OCI configuration that ctr makes for the image, as a dict to edit; its root is an unpacked busybox."""
        identity = self.new_id()
        result = self.ctr("container", "create", *flags, self.image, identity)
        assert result.code == 0, result.err
        try:
            spec = json.loads(self.ctr("container", "info", "--spec", identity).out)
        finally:
            self.ctr("container", "rm", identity)
        spec["process"]["args"] = list(command)
        spec["root"] = {"path": str(self.unpacked_rootfs())}
        return spec

    def rootfs_of(self, owner, path):
        """A copy of the unpacked busybox at `path`, a directory that anybody may reach; all of it is the owner's."""
        shutil.copytree(self.unpacked_rootfs(), path, symlinks=True)
        for directory, names, files in os.walk(path):
            for name in [".", *names, *files]:
                os.lchown(os.path.join(directory, name), owner, owner)
        return path

    def unpacked_rootfs(self):
        root = self.directory / "rootfs"
        if not root.exists():
            for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
                (root / name).mkdir(parents=True)
            shutil.copy("/bin/busybox", root / "bin/busybox")
            for applet in subprocess.check_output(["/bin/busybox", "--list"], text=True).split():
                if applet != "busybox":
                    (root / "bin" / applet).symlink_to("busybox")
        return root

    @contextlib.contextmanager
    def container(self, *command, flags=(), identity=None):
        """A container that runs detached while the block runs; the value is its id."""
        identity = identity or self.new_id()
        self.start_detached(identity, *(command or ("sleep", "1000")), flags=flags)
        try:
            yield identity
        finally:
            self.remove(identity)

    def start_detached(self, identity, *command, flags=()):
        result = self.ctr("run", "--detach", "--null-io", "--runtime", self.runtime, "--fifo-dir", self.directory / "fifo",
                          *flags, self.image, identity, *command)
        assert result.code == 0, f"{result.err}\n{self.log_tail()}"

    def remove(self, identity):
        """Removes a container as a client should; what is gone already is fine."""
        if any(task == identity for task in self.tasks()):
            result = self.ctr("task", "rm", "--force", identity)
            assert result.code == 0 or "not found" in result.err, f"{result.err}\n{self.log_tail()}"
        result = self.ctr("container", "rm", identity)
        assert result.code == 0 or "not found" in result.err, f"{result.err}\n{self.log_tail()}"

    def exec_command(self, identity, *command, flags=(), exec_id=None):
        return self.command("task", "exec", "--exec-id", exec_id or self.new_id("x"), "--fifo-dir",
                            self.directory / "fifo", *flags, identity, *command)

    def exec(self, identity, *command, flags=(), exec_id=None, stdin=b"", timeout=COMMAND_SECONDS):
        done = subprocess.run(self.exec_command(identity, *command, flags=flags, exec_id=exec_id), input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def tasks(self):
        """{id: (pid, status)} as `ctr task ls` prints it."""
        lines = self.ctr("task", "ls").out.decode().splitlines()[1:]
        return {fields[0]: (int(fields[1]), fields[2]) for fields in map(str.split, lines) if len(fields) >= 3}

    def containers(self):
        return self.ctr("container", "ls", "-q").out.decode().split()

    def bundle(self, identity):
        return self.directory / "state/io.containerd.runtime.v2.task" / self.namespace / identity

    # --- what is left ---

    def shim_pids(self, identity=""):
        """Pids of shims of this containerd (of one container)."""
        return [pid for pid, line in processes("containerd-shim-", self.address, identity).items()]

    def qemu_pids(self, identity):
        return [pid for pid, line in processes("qemu-system-", identity).items()]

    def leftovers(self, sockets_before):
        """One line per thing that is ours and still there, apart from containerd itself."""
        return [*self._process_leftovers(), *self._mount_leftovers(), *self._socket_leftovers(sockets_before),
                *self._cgroup_leftovers(), *self._directory_leftovers(), *self._loop_leftovers()]

    def _process_leftovers(self):
        own = {self.process.pid if self.process else 0}
        return [f"process {pid}: {line[:200]}" for pid, line in processes(self.token).items() if pid not in own]

    def _mount_leftovers(self):
        found = []
        for line in read("/proc/self/mountinfo").splitlines():
            if self.token in line:
                found.append(f"mount {line}")
        return found

    def _socket_leftovers(self, before):
        own = {self.address, self.address + ".ttrpc"}
        paths = {line.split()[7] for line in read("/proc/net/unix").splitlines()[1:] if len(line.split()) > 7}
        found = [f"socket {path}" for path in paths if self.token in path and path not in own]
        return found + [f"shim socket {path}" for path in sorted(self.shim_sockets() - before)]

    def _cgroup_leftovers(self):
        return [f"cgroup {directory}" for directory in cgroups_named(self.token)]

    def _directory_leftovers(self):
        found = []
        # Not the fifo directory: ctr makes and removes it, and forgets it when its task dies under it, with any runtime.
        for parent in (KATA_RUN, KATA_RUN / "shared", self.bundle("x").parent):
            with contextlib.suppress(FileNotFoundError):
                found += [f"left in {parent}: {path.name}" for path in parent.iterdir()
                          if parent.is_relative_to(self.directory) or self.token in path.name]
        # Named by a digest; what they lead to has the name.
        with contextlib.suppress(FileNotFoundError):
            found += [f"left: {path}" for path in KATA_SHORT.iterdir()
                      if path.is_symlink() and self.token in os.readlink(path)]
        return found

    def _loop_leftovers(self):
        files = {path.parents[1].name: read(path).strip() for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file")}
        return [f"loop device {name}: {file}" for name, file in files.items() if self.token in file]

    @staticmethod
    def shim_sockets():
        with contextlib.suppress(FileNotFoundError):
            return set(SHIM_SOCKETS.iterdir())
        return set()

    def wait_clean(self, sockets_before, seconds=SETTLE_SECONDS):
        """Returns what is still left after a generous time; empty is good."""
        deadline = time.monotonic() + seconds
        while (left := self.leftovers(sockets_before)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def force_clean(self):
        """After a failed test: takes away by force what it left, so that the next test starts clean."""
        own = self.process.pid if self.process else 0
        for pid in processes(self.token):
            if pid != own:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(1)
        for identity in self.containers():
            self.ctr("task", "rm", "--force", identity)
            self.ctr("container", "rm", identity)
        for line in reversed(self._mount_leftovers()):
            subprocess.run(["umount", "-l", line.split()[5]], stderr=subprocess.DEVNULL, check=False)
        for line in self._loop_leftovers():
            subprocess.run(["losetup", "-d", f"/dev/{line.split()[2].rstrip(':')}"], stderr=subprocess.DEVNULL, check=False)
        for parent in (KATA_RUN, KATA_RUN / "shared"):
            if parent.is_dir():
                for path in parent.iterdir():
                    if self.token in path.name:
                        shutil.rmtree(path, ignore_errors=True)
        for line in sorted(self._cgroup_leftovers(), reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(line.split(" ", 1)[1])


class Terminal:
    """A program on a pseudo-terminal of its own, as a user at a console sees it."""

    def __init__(self, command, rows=24, columns=80):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.seen = b""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, seconds=COMMAND_SECONDS):
        """Reads until `text` has come; what came after it stays for the next call."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            data = b""
            with contextlib.suppress(OSError):  # EIO: the other side has closed
                data = os.read(self.master, 65536) if ready else b""
            assert data, f"expected {text!r} on the terminal, saw {self.seen!r}"
            self.seen += data
        self.seen = self.seen.split(text.encode(), 1)[1]

    def close(self):
        """Waits for the program and returns its exit code."""
        return self.drain()[1]

    def drain(self, seconds=COMMAND_SECONDS):
        """Waits for the program and returns what it still said, and its exit code."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
                data = os.read(self.master, 65536)
                if not data:
                    break
                self.seen += data
            else:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"the program on the terminal did not end, saw {self.seen!r}")
        os.close(self.master)
        return self.seen, os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
