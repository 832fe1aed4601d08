# SPDX-License-Identifier: Apache-2.0
"""Machines that do not come up, and a shim or a start that dies while others come up."""
import contextlib
import os
import subprocess
import time

import pytest

import harness
from changed_installation import edit, installation, one_line
from failures import told

HANG_SECONDS = 15
SLACK_SECONDS = 30  # of a busy machine
FAST_CALLS = 20
FAST_SECONDS = 0.05
FIRST_MACHINE_USER = 0x70000000  # each machine has one of its own: this and the pid of its shim

# An ELF file with the note of a kernel that QEMU starts directly. It says so on the serial line and stops.
WRONG_KERNEL = r"""
.section .note, "a", @note
.align 4
.long 4, 4, 18
.asciz "Xen"
.long start
.text
.globl start
start:
  mov $text, %esi
  mov $0x3f8, %dx
1: lodsb
  test %al, %al
  jz 2f
  outb %al, %dx
  jmp 1b
2: cli
  hlt
  jmp 2b
text: .asciz "this is the first line\nthis is no kernel for you\n"
"""


def build_wrong_kernel(path):
    source = path.with_suffix(".s")
    source.write_text(WRONG_KERNEL, encoding="utf-8")
    subprocess.run(["as", "--32", "-o", path.with_suffix(".o"), source], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext=0x100000", "-e", "start", "-o", path, path.with_suffix(".o")],
                   check=True)
    path.chmod(0o644)


def fails_in_time(kata, change, what, *words):
    """A run with the installation changed ends with one line that has the words, within the limit; its error."""
    with installation(kata, change) as other:
        began = time.monotonic()
        result = other.run("true")
        took = time.monotonic() - began

    print(f"{what}: {took:.1f} s, {result.err}")
    assert result.code != 0
    one_line(result.err, *words)
    assert took < HANG_SECONDS + SLACK_SECONDS
    return result.err


def test_wrong_kernel_ends_with_its_last_words(kata):
    def change(prefix):
        build_wrong_kernel(prefix / "share/kata-containers/wrong")
        os.replace(prefix / "share/kata-containers/wrong", prefix / "share/kata-containers/vmlinux")

    said = fails_in_time(kata, change, "a kernel that hangs", "waiting for the agent", "this is no kernel for you")
    told("The agent does not answer", said)


def test_agent_that_cannot_start_ends_at_once(kata):
    def change(prefix):
        (prefix / "share/kata-containers/kata-initrd.img").write_bytes(b"not an archive")

    told("The initramfs is damaged", fails_in_time(kata, change, "a guest without an agent", "panic"))


def test_emulator_that_does_not_come_up(kata):
    """It stands still before it has opened its monitor, on which libvirt waits."""
    def change(prefix):
        emulator = prefix / "bin/qemu-system-x86_64"
        emulator.write_text('#!/bin/sh\ncase "$*" in *guest=*) kill -STOP $$ ;; esac\n'
                            'exec /usr/bin/qemu-system-x86_64 "$@"\n', encoding="utf-8")
        emulator.chmod(0o755)
        edit(r"^path = .*$", f'path = "{emulator}"')(prefix)

    told("QEMU does not come up", fails_in_time(kata, change, "an emulator that hangs", "QEMU did not come up"))


@pytest.mark.parametrize("victim", ["qemu-system-", "virtiofsd", "containerd-shim-"])
def test_process_killed_while_its_machine_boots(kata, victim):
    """The caller gets an error; another container that starts at the same time does not notice."""
    identity, other = kata.new_id(), kata.new_id()
    # One that goes on from a template would boot instead (test_template).
    flags = kata.configured("booting", "[factory]\nenable_template = false\n")
    client = subprocess.Popen(kata.run_command("true", identity=identity, flags=flags), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    bystander = subprocess.Popen(kata.run_command("echo", "fine", identity=other), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE)
    # The kernel is at its boot then: the shim and virtiofsd are older than QEMU.
    harness.wait_for(lambda: kata.qemu_pids(identity), "the machine's process")
    began = time.monotonic()

    harness.kill(harness.processes(victim, identity))

    error = client.communicate(timeout=harness.COMMAND_SECONDS)[1].decode()
    print(f"{victim} killed at boot: {time.monotonic() - began:.1f} s, {error}")
    assert client.returncode != 0 and error
    assert bystander.communicate(timeout=harness.COMMAND_SECONDS)[0] == b"fine\n"
    kata.remove(identity)


def test_caller_that_gives_up_ends_the_boot(kata):
    identity = kata.new_id()
    client = subprocess.Popen(kata.run_command("true", identity=identity), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    harness.wait_for(lambda: kata.qemu_pids(identity), "the machine's process")
    began = time.monotonic()

    client.kill()
    client.wait()

    harness.wait_for(lambda: not kata.shim_pids(identity), "the shim to go")
    print(f"the shim was gone {time.monotonic() - began:.1f} s after its caller")
    ready = [line for line in harness.read(kata.log).splitlines() if "agent ready" in line and identity in line]
    assert not ready, "the machine booted on"
    kata.remove(identity)


def stopped_probes_of(kata, identity):
    """{pid: shim} of the emulators that libvirt asks and that stand still: their user is that of the shim's machine."""
    shims = kata.shim_pids(identity)  # one of them may be the `start` that ends soon
    found = {}
    for pid in harness.processes("qmp.monitor"):
        with contextlib.suppress(FileNotFoundError):
            shim = os.stat(f"/proc/{pid}").st_uid - FIRST_MACHINE_USER
            if shim in shims and " T " in harness.read(f"/proc/{pid}/stat"):
                found[pid] = shim
    return found


@pytest.mark.parametrize("victim", ["shim", "emulator"])
def test_emulator_that_is_asked_what_it_can_do(kata, victim):
    """libvirt starts one before its first machine, and it detaches itself. It stands still; its shim is killed, or not."""
    cache = "/var/cache/kata-containers"
    no_cache = ("unshare", "--mount", "--propagation", "private", "sh", "-ec",
                f'mkdir -p {cache}; mount -t tmpfs none {cache}; exec "$@"', "sh")

    def change(prefix):
        emulator = prefix / "bin/qemu-system-x86_64"
        emulator.write_text('#!/bin/sh\ncase "$*" in *qmp.monitor*) ;; *) exec /usr/bin/qemu-system-x86_64 "$@" ;; esac\n'
                            '/usr/bin/qemu-system-x86_64 "$@" || exit\n'
                            'while [ "$1" != -pidfile ]; do shift; done\nkill -STOP "$(cat "$2")"\n', encoding="utf-8")
        emulator.chmod(0o755)
        edit(r"^path = .*$", f'path = "{emulator}"')(prefix)

    with installation(kata, change, wrapper=no_cache) as other:
        identity = other.new_id()
        client = subprocess.Popen(other.run_command("true", identity=identity), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        probes = harness.wait_for(lambda: stopped_probes_of(other, identity), "libvirt to ask an emulator")
        began = time.monotonic()

        if victim == "shim":
            harness.kill(set(probes.values()))
        error = client.communicate(timeout=harness.COMMAND_SECONDS)[1].decode()
        other.remove(identity)

        print(f"{victim}: {time.monotonic() - began:.1f} s, {error}")
        assert client.returncode != 0 and error
        harness.wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in probes), "the emulator to end",
                         harness.SETTLE_SECONDS)
