# SPDX-License-Identifier: Apache-2.0
"""One of the two runtimes: runs cases and gives their texts, with what must differ between any two runs taken out."""
import contextlib
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import tarfile
import threading

import harness

IMAGE = "localhost/compare:latest"
SHELL = ("sh", "-c")
# What ctr's log lines add to its own errors.
NOISE = re.compile(r'^(time="[^"]*" level=.*|Command requires root.*|.*resize pty .*)$', re.MULTILINE)
CAUSES = ("executable file not found", "no such device", "no such file or directory", "permission denied", "not a directory", "is a directory", "exec format error",
          "invalid argument", "already exists", "not found", "operation not permitted", "too many levels", "file exists",
          "read-only", "argument list too long", "file name too long", "not running",
          "process already finished", "process does not exist", "paused", "must be deleted", "unknown signal", "no such process",
          "device or resource busy", "failed precondition", "non running", "cannot")
# The same said by another sentence or code.
ALIKE = {"refused": ("invalid argument",), "in another state": ("cannot", "failed precondition", "paused", "not running", "non running")}


class Side(harness.Containerd):
    """A runtime behind the containerd that both sides share."""

    @classmethod
    def of(cls, containerd, runtime, letter):
        side = cls(containerd.directory, containerd.prefix, containerd.token)
        side.runtime, side.image, side.letter = runtime, IMAGE, letter
        side.numbers, side.lock, side.one_at_a_time = itertools.count(1), threading.Lock(), threading.Lock()
        side.stander = None
        return side

    def new_id(self, word="c"):
        """Of the same length on both sides. The word is that of the side: both share a directory."""
        return f"{self.token}-{self.letter}{next(self.numbers):04d}"

    # --- images and roots ---

    @staticmethod
    def make_image(containerd, probe):
        """The busybox image with the probe; its root is unpacked as well, for whole configurations."""
        archive = containerd.directory / "compare.tar"
        subprocess.run([harness.REPOSITORY / "tools/make-busybox-image", archive, "--name", IMAGE,
                        "--add", f"{probe}:bin/probe", "--add", "/dev/null:etc/compare-image"], check=True)
        result = containerd.ctr("image", "import", str(archive))
        assert result.code == 0, result.err
        root = containerd.directory / "image-root"
        with tarfile.open(archive) as outer:
            manifest = json.load(outer.extractfile("blobs/sha256/" + json.load(
                outer.extractfile("index.json"))["manifests"][0]["digest"].split(":")[1]))
            layer = outer.extractfile("blobs/sha256/" + manifest["layers"][0]["digest"].split(":")[1])
            with tarfile.open(fileobj=layer) as inner:
                inner.extractall(root)
        archive.unlink()

    def specification(self, flags=()):
        """The configuration that ctr makes for the image, as a dict; made once for each set of flags."""
        with self.lock:
            known = self.__dict__.setdefault("specifications", {})
            if flags not in known:
                identity = self.new_id()
                result = self.ctr("container", "create", *flags, self.image, identity)
                assert result.code == 0, result.err
                text = self.ctr("container", "info", "--spec", identity).out
                self.ctr("container", "rm", identity)
                known[flags] = text.decode().replace(identity, "@ID@")
            return known[flags]

    @contextlib.contextmanager
    def edited(self, edit, command, flags):
        """Flags and words of `ctr run` for an edited configuration with a root of its own."""
        identity = self.new_id()
        folder = pathlib.Path(self.directory / f"config-{identity}")
        shutil.copytree(self.directory / "image-root", folder / "root", symlinks=True)
        spec = json.loads(self.specification(tuple(flags)).replace("@ID@", identity))
        spec["process"]["args"] = list(command)
        spec["root"] = {"path": str(folder / "root")}
        edit(spec)
        (folder / "config.json").write_text(json.dumps(spec), encoding="utf-8")
        try:
            yield identity, ("--config", folder / "config.json", identity)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run_case(self, case, words):
        """`ctr run --rm` of a case's container."""
        if case.edit is None:
            return self.run(*words, flags=case.flags)
        with self.edited(case.edit, words, case.flags) as (_, arguments):
            return self.ctr("run", "--rm", "--runtime", self.runtime, "--fifo-dir", self.directory / "fifo", *arguments)

    # --- texts ---

    def clean(self, text):
        """Without what differs between any two runs."""
        if isinstance(text, bytes):
            text = text.decode(errors="backslashreplace")
        text = text.replace("\r\n", "\n")
        text = re.sub(rf"{self.token}-[a-z]\d{{4}}", "ID", text)
        text = text.replace(str(self.directory), "RUN").replace(self.token, "TOKEN")
        text = re.sub(r"pipe:\[\d+\]", "pipe:[N]", text)
        text = re.sub(r"containerd-mount\d+", "containerd-mountN", text)
        return NOISE.sub("", text).strip("\n")

    def outcome(self, result):
        """A client's result as a text: lines of both outputs, then the code."""
        lines = [self.clean(result.out)]
        lines += [f"stderr: {line}" for line in self.clean(result.err).splitlines() if line]
        return "\n".join(line for line in [*lines, f"exit {result.code}"] if line)

    def failure(self, result, *names):
        """A refused request by its meaning: the client's code, the cause, which names it tells. The sentences differ."""
        text = self.clean(result.err).lower()
        cause = next((cause for cause in CAUSES if cause in text), "refused" if text else "no message")
        cause = next((group for group, causes in ALIKE.items() if cause in causes), cause)
        told = [name for name in names if name.lower() in text]
        return "\n".join([f"exit {result.code}", f"cause {cause}", *[f"names {name}" for name in told]])

    # --- cases ---

    def run_own(self, case):
        return self.outcome(self.run_case(case, case.command or (*SHELL, case.script)))

    def run_shared(self, cases):
        """{name: text} of cases that share a container."""
        parts = [f"echo '@@begin {case.name}'\n(\n{case.script}\n) </dev/null 2>&1\necho \"@@end $?\"" for case in cases]
        result = self.run_case(cases[0], (*SHELL, "\n".join(parts)))
        output = self.clean(result.out)
        texts = {}
        for case in cases:
            found = re.search(rf"^@@begin {re.escape(case.name)}\n(.*?)^@@end (\d+)$", output, re.MULTILINE | re.DOTALL)
            texts[case.name] = f"{found[1]}exit {found[2]}" if found else f"did not run to its end; {self.outcome(result)}"
        return texts

    def run_execs(self, cases):
        """{name: text} of execs in one container."""
        with self.container("sleep", "100000", flags=cases[0].flags) as identity:
            return {case.name: self.outcome(self.exec(identity, *(case.command or (*SHELL, case.script)),
                                                      flags=case.exec_flags)) for case in cases}

    # --- for cases that drive ctr themselves ---

    @contextlib.contextmanager
    def standing(self):
        """A plain container that outlives the case, for those that only add processes and take them away again.

        One case at a time has it. A case after which it does not run any more is at fault, and the next gets a new one.
        """
        with self.one_at_a_time:
            if self.stander is None:
                self.stander = self.new_id()
                self.start_detached(self.stander, "sleep", "100000")
            yield self.stander
            if self.status(self.stander) != "RUNNING":
                self.end_standing()
                raise AssertionError("the case ended the container that others share")

    def end_standing(self):
        if self.stander is not None:
            self.remove(self.stander)
            self.stander = None

    def status(self, identity):
        return self.tasks().get(identity, (0, "NONE"))[1]

    def wait_status(self, identity, status):
        harness.wait_for(lambda: self.status(identity) == status, f"{identity} to be {status}")
        return status

    @contextlib.contextmanager
    def running(self, *words, flags=(), tty=False):
        """A container with a client that waits for it: (id, client). Its `ready` line has been read."""
        identity = self.new_id()
        client = subprocess.Popen(self.run_command(*words, flags=flags, identity=identity), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            assert client.stdout.readline() == b"ready\n", client.stderr.read()
            yield identity, client
        finally:
            if client.poll() is None:
                self.ctr("task", "kill", "-s", "SIGKILL", identity)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    client.wait(30)
                client.kill()
            self.remove(identity)  # a client that was killed has left it
            client.stdout.close()
            client.stderr.close()
            client.wait()

    def finish(self, client):
        out, err = client.communicate(timeout=harness.COMMAND_SECONDS)
        return self.outcome(harness.Result(client.returncode, out, err.decode(errors="replace")))

    def on_terminal(self, steps, *words, flags=(), rows=24, columns=80):
        """A container on a terminal. Steps: a text to wait for, a tuple's text to send, a function of the terminal.

        The value is what came after the last text that was waited for, and the code.
        """
        identity = self.new_id()
        command = self.run_command(*words, flags=("--tty", *flags), identity=identity)
        try:
            return self._talk(harness.Terminal(command, rows, columns), steps)
        finally:
            self.remove(identity)

    def exec_on_terminal(self, identity, steps, *words, rows=24, columns=80):
        return self._talk(harness.Terminal(self.exec_command(identity, *words, flags=("--tty",)), rows, columns), steps)

    def _talk(self, terminal, steps):
        for step in steps:
            if callable(step):
                step(terminal)
            elif isinstance(step, tuple):
                terminal.send(step[0])
            else:
                terminal.expect(step)
        rest, code = terminal.drain()
        return f"{self.clean(rest)}\nexit {code}"
