# SPDX-License-Identifier: Apache-2.0
"""Pods that go on from a template: that they are themselves, and what happens when something is wrong with it."""
import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

import harness
from changed_installation import edit, installation

pytestmark = pytest.mark.skipif("KATA_TEST_VSOCK" in os.environ, reason="machines with a vsock boot")

MAKE_SECONDS = 120
CLOCK_SECONDS = 3
ROUNDS = 8               # of killing at moments over a whole start
STEP_SECONDS = 0.11
CLONE = "timeline: clone of a template"


class Templates:
    """The store of a second installation."""

    def __init__(self, kata, containerd):
        self.containerd = containerd
        self.directory = kata.directory / "changed/templates"
        self.program = containerd.prefix / "libexec/kata-containers/kata-template"

    def ready(self):
        return sorted(path for path in self.directory.glob("*") if re.fullmatch("[0-9a-f]{64}", path.name))

    def wait(self):
        """The one template, once it is made and nothing of its making is left."""
        harness.wait_for(lambda: self.ready() and not self.makers(), "the template", MAKE_SECONDS)
        assert not list(harness.KATA_RUN.glob("template-*"))
        return self.ready()[0]

    def makers(self):
        return harness.processes(str(self.program)) | harness.processes("qemu-system-", "guest=template-")

    def command(self, *words):
        return subprocess.run([self.program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=MAKE_SECONDS, check=False)

    def clones(self):
        """How many pods have gone on from a template."""
        return harness.read(self.containerd.log).count(CLONE)

    def runs_as_clone(self, *command):
        before = self.clones()
        result = self.containerd.run(*(command or ("echo", "fine")))
        assert result.code == 0, result.err
        assert self.clones() == before + 1, self.containerd.log_tail()
        return result.out

    def boots(self, *words):
        """A pod runs, but its machine has booted, after a line of the log with all the words."""
        before, size = self.clones(), len(harness.read(self.containerd.log))
        result = self.containerd.run("echo", "fine")
        assert result.code == 0 and result.out == b"fine\n", result.err
        assert self.clones() == before
        lines = harness.read(self.containerd.log)[size:].splitlines()
        assert not words or any(all(word in line for word in words) for line in lines), lines


@contextlib.contextmanager
def store_of(kata, change=lambda prefix: None):
    with installation(kata, change, templates=True) as other:
        templates = Templates(kata, other)
        try:
            yield templates
        finally:
            harness.wait_for(lambda: not templates.makers(), "the end of those who make templates", MAKE_SECONDS)


@pytest.fixture
def templates(kata):
    """With a template that is there."""
    with store_of(kata) as store:
        made = store.command("build")
        assert made.returncode == 0, made.stderr
        yield store


def test_first_pods_boot_and_one_template_is_made(kata):
    with store_of(kata) as templates:
        others = [subprocess.Popen(templates.containerd.run_command("true")) for _ in range(3)]
        templates.boots()
        assert [other.wait(timeout=harness.COMMAND_SECONDS) for other in others] == [0, 0, 0]
        directory = templates.wait()

        assert templates.runs_as_clone() == b"fine\n"

        assert len(templates.ready()) == 1
        for path in (templates.directory, directory, *directory.iterdir()):
            assert path.stat().st_uid == 0 and path.stat().st_mode & 0o077 == 0, path


def test_clones_are_not_alike(templates):
    """Two at the same moment, and one after the other: nothing random is drawn twice."""
    script = ("cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid; head -c 32 /dev/urandom | md5sum; "
              "head -c 32 /dev/random | md5sum; mktemp -u /XXXXXXXXXXXX; cat /proc/self/stat | md5sum; hostname; date +%s")
    before = time.time()
    commands = [templates.containerd.run_command("sh", "-c", script) for _ in range(2)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    answers = [process.communicate(timeout=harness.COMMAND_SECONDS)[0].splitlines() for process in running]
    answers.append(templates.runs_as_clone("sh", "-c", script).decode().splitlines())

    for line in range(5):
        values = [answer[line] for answer in answers]
        assert len(set(values)) == 3, values
    for answer in answers:
        assert before - CLOCK_SECONDS <= int(answer[-1]) <= time.time() + CLOCK_SECONDS
    assert templates.clones() == 3


def test_containers_of_a_clone_are_those_of_a_booted_machine(kata, templates):
    script = ("nproc; cat /proc/mounts | sort; free -m | awk '/Mem/ {print int($2 / 8)}'; cat /proc/cmdline; ls /dev /sys/class/net; "
              "ls /sys/bus/virtio/devices | wc -l; zcat /proc/config.gz 2>&1 | head -c 100; id; ulimit -a; cat /proc/1/limits")
    cloned = templates.runs_as_clone("sh", "-c", script).decode()
    edit(r"^enable_template = .*$", "enable_template = false")(templates.containerd.prefix)
    booted = templates.containerd.run("sh", "-c", script).out.decode()

    def plain(text):
        return re.sub(r"tsc_early_khz=\d+", "", text)
    assert plain(cloned) == plain(booted)
    assert templates.clones() == 1


def test_nothing_of_the_template_is_written_by_a_pod(templates):
    directory = templates.wait()
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.iterdir()}
    templates.runs_as_clone("sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null")

    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.iterdir()} == before


@pytest.mark.parametrize("name, damage", [
    ("memory", lambda path: flip(path, path.stat().st_size // 2)),
    ("memory", lambda path: os.truncate(path, path.stat().st_size - 4096)),
    ("devices", lambda path: flip(path, 100_000)),
    ("devices", os.unlink),
], ids=["memory-flipped", "memory-cut", "devices-flipped", "devices-gone"])
def test_damaged_template_is_known_and_made_anew(templates, name, damage):
    directory = templates.wait()
    damage(directory / name)

    templates.boots("level=warning", "it boots instead", str(directory / name))

    assert not directory.exists()
    templates.boots()  # and has it made
    assert templates.wait() == directory
    templates.runs_as_clone()


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))


def test_template_of_another_kernel_is_not_taken(templates):
    templates.wait()
    kernel = templates.containerd.prefix / "share/kata-containers/vmlinux"
    os.utime(kernel, ns=(1, 1))

    templates.boots()

    harness.wait_for(lambda: len(templates.ready()) == 2, "its own template", MAKE_SECONDS)
    templates.runs_as_clone()


def test_pod_of_a_size_of_its_own_has_a_template_when_it_comes_again(templates):
    templates.wait()
    for _ in range(2):
        assert templates.containerd.run("true", flags=("--memory-limit", str(100 << 20))).code == 0
    assert templates.clones() == 0
    harness.wait_for(lambda: len(templates.ready()) == 2, "its template", MAKE_SECONDS)
    assert templates.containerd.run("true", flags=("--memory-limit", str(100 << 20))).code == 0
    assert templates.clones() == 1


def shims(identity):
    """The daemon, without the `start` that has made it."""
    return [pid for pid, line in harness.processes("containerd-shim-", identity).items() if not line.endswith(" start")]


@pytest.mark.parametrize("victim", ["qemu-system-", "containerd-shim-"])
def test_killed_at_any_moment_of_a_clone(kata, templates, victim):
    """Whatever came of the pod, nothing of it is left, and the template serves the next."""
    other = templates.containerd
    for round_ in range(ROUNDS):
        identity = other.new_id()
        client = subprocess.Popen(other.run_command("true", identity=identity), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        harness.wait_for(lambda: client.poll() is not None or shims(identity), "the pod's shim")  # pylint: disable=cell-var-from-loop
        time.sleep(round_ * STEP_SECONDS)
        for pid in shims(identity) if victim == "containerd-shim-" else harness.processes(victim, identity):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        client.communicate(timeout=harness.COMMAND_SECONDS)
        other.remove(identity)
    assert other.wait_clean(set()) == []
    templates.wait() if templates.ready() else templates.boots()
    assert other.run("echo", "fine").out == b"fine\n"


def test_killed_while_the_template_is_made(kata):
    """What it has left goes when it is made anew, which the next pod has done."""
    with store_of(kata) as templates:
        maker = subprocess.Popen([templates.program, "build"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        harness.wait_for(lambda: harness.processes("qemu-system-", "guest=template-"), "the machine to be saved")
        time.sleep(0.5)
        for pid in harness.processes(str(templates.program)) | {maker.pid: ""}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        maker.wait(timeout=harness.COMMAND_SECONDS)

        templates.boots()

        templates.wait()
        templates.runs_as_clone()


def test_no_room_for_a_template(kata):
    """Pods boot; the reason is in the log and in the list; with room it is made."""
    def change(prefix):
        store = prefix.parent / "templates"
        store.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", store], check=True)
    directory = kata.directory / "changed/templates"
    try:
        with store_of(kata, change) as templates:
            templates.boots()
            harness.wait_for(lambda: list(directory.glob("*.failed")), "the end of the try", MAKE_SECONDS)
            templates.boots("level=warning", "no template", "no space left on device")
            assert "no space left on device" in templates.command("list").stdout

            subprocess.run(["mount", "-o", "remount,size=200m", directory], check=True)
            made = templates.command("build")
            assert made.returncode == 0, made.stderr
            templates.runs_as_clone()
            subprocess.run(["umount", "-l", directory], check=True)
    finally:
        if directory.is_mount():
            subprocess.run(["umount", "-l", directory], check=True)


def test_command_makes_lists_and_removes(templates):
    directory = templates.wait()
    listed = templates.command("list")
    assert listed.returncode == 0 and directory.name in listed.stdout and "MiB" in listed.stdout

    refused = templates.command("remove", "f00")
    assert refused.returncode == 1 and '"f00": no template begins so' in refused.stderr
    removed = templates.command("remove", directory.name[:12])
    assert removed.returncode == 0 and not templates.ready()

    assert templates.command("build").returncode == 0
    assert templates.ready() == [directory]
    assert templates.command("remove", "--all").returncode == 0
    assert not templates.ready()
