# SPDX-License-Identifier: Apache-2.0
"""QEMU, virtiofsd and the guest's own kernel and agent: stopped, killed, broken. Nothing hangs, nothing is left."""
import concurrent.futures
import json
import signal
import subprocess
import threading
import time

import pytest

import harness
from ttrpc_client import DEADLINE_EXCEEDED, NOT_FOUND, CallError, Shim, encode

SIGNAL_SECONDS = 10       # a guest that has not taken a signal by then does not answer
GUEST_CALL_SECONDS = 30   # a guest that has not answered another call by then does not either
KILL_EFFECT_SECONDS = 20  # a process that SIGKILL has not ended by then waits for ever
SLACK_SECONDS = 30        # of a busy machine
FAST_CALLS = 40
PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
FAST_SECONDS = 0.05

# Rewrites the agent's program in its memory and wakes it: a process that loses its parent becomes its child. The new
# program lies ready before: the agent may wake by itself at any time, and must not find it half written.
REWRITE_AGENT = ("set -- $(grep -m 1 r-xp /proc/1/maps | tr - ' '); size=$((0x$2 - 0x$1)); {} >/dev/shm/code; "
                 "dd if=/dev/shm/code of=/proc/1/mem bs=4096 seek=$((0x$1 / 4096)) conv=notrunc 2>/dev/null; "
                 "touch /rewritten; (true &); sleep 1000")
BREAK_AGENT = REWRITE_AGENT.format("head -c $size /dev/zero")
# Everywhere, and wherever in it the agent comes in: two steps to nowhere and a jump back to them, whose last byte is a step
# too. It loops in what is written already, however far that is.
LOOP_AGENT = REWRITE_AGENT.format(r"yes abcd | tr -d '\n' | tr abcd '\220\220\353\374' | head -c $size")


def virtiofsd_pids(identity):
    return list(harness.processes("virtiofsd", identity))


def median(values):
    return sorted(values)[len(values) // 2]


def seconds_of(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def in_background(work):
    """Starts `work` in a thread; the value is a function that waits for it and returns its result."""
    result = concurrent.futures.Future()

    def run():
        try:
            result.set_result(work())
        except Exception as error:  # of any kind: it is the caller's
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return lambda: result.result(harness.COMMAND_SECONDS)


def powerful(kata, script):
    """A container in the guest's own pid and cgroup namespaces that may do anything."""
    spec = kata.default_spec("sh", "-c", script)
    everything = [f"CAP_{name}" for name in ("SYS_ADMIN", "SYS_PTRACE", "DAC_OVERRIDE", "KILL")]
    spec["process"]["capabilities"] = dict.fromkeys(("bounding", "permitted", "effective"), everything)
    spec["linux"]["namespaces"] = [ns for ns in spec["linux"]["namespaces"] if ns["type"] not in ("pid", "cgroup")]
    spec["linux"].pop("seccomp", None)
    spec["linux"]["maskedPaths"] = spec["linux"]["readonlyPaths"] = []
    return spec


def test_stopped_machine_keeps_no_caller_waiting(kata):
    """State, Connect and Kill at once; the signal is there when the machine goes on, and nothing has come to harm."""
    with kata.container("sh", "-c", "trap 'echo >/got' USR1; echo >/trapped; while :; do sleep 0.1; done") as identity, \
            Shim.of(kata.bundle(identity)) as shim:
        # A signal that comes before the trap is one that process 1 does not get.
        assert kata.exec(identity, "sh", "-c", "while ! test -e /trapped; do sleep 0.1; done; kill -USR1 1; while ! rm /got; do sleep 0.1; done").code == 0
        harness.kill(kata.qemu_pids(identity), signal.SIGSTOP)

        took = {name: median([seconds_of(call) for _ in range(FAST_CALLS)])
                for name, call in (("State", lambda: shim.state(identity)),
                                   ("Connect", lambda: shim.connect(identity)),
                                   ("Kill", lambda: shim.kill(identity, signal.SIGUSR1)))}
        assert shim.state(identity) == "RUNNING"
        harness.kill(kata.qemu_pids(identity), signal.SIGCONT)

        print("a stopped machine:", {name: f"{seconds * 1000:.1f} ms" for name, seconds in took.items()})
        assert max(took.values()) < FAST_SECONDS, took
        assert kata.exec(identity, "sh", "-c", "while [ ! -s /got ]; do sleep 0.1; done; cat /got; echo alive").out == b"\nalive\n"


def test_stopped_machine_has_an_error_for_what_only_it_can_answer(kata):
    """And an exec that it starts when it goes on, after the error, does not stay."""
    with kata.container() as identity, Shim.of(kata.bundle(identity)) as shim:
        process = {"args": ["sleep", "31415"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]}
        shim.call("Exec", {1: identity, 2: "late", 7: encode({1: PROCESS_TYPE, 2: json.dumps(process)})})
        harness.kill(kata.qemu_pids(identity), signal.SIGSTOP)

        def fail(method, *fields):
            with pytest.raises(CallError) as error:
                shim.call(method, {1: identity, **dict(fields)})
            assert error.value.code == DEADLINE_EXCEEDED

        waiting = in_background(lambda: shim.wait(identity, "late"))
        calls = [in_background(lambda: seconds_of(lambda: fail("Start", (2, "late")))),
                 in_background(lambda: seconds_of(lambda: fail("Stats")))]
        took = [call() for call in calls]
        assert waiting() != 0
        assert shim.state(identity, "late") == "STOPPED"
        harness.kill(kata.qemu_pids(identity), signal.SIGCONT)

        print("Start of an exec and Stats of a stopped machine:", [f"{seconds:.1f} s" for seconds in took])
        assert max(took) < GUEST_CALL_SECONDS + SLACK_SECONDS
        harness.wait_for(lambda: "has started it too late" in harness.read(kata.log), "the late exec to be seen")
        gone = kata.exec(identity, "sh", "-c", "while ps | grep 3141[5]; do sleep 0.1; done; echo gone")
        assert gone.out.endswith(b"gone\n")


def test_stopped_machine_is_removed_by_force(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    with Shim.of(kata.bundle(identity)) as shim:
        waiting = in_background(lambda: shim.wait(identity))
        harness.kill(kata.qemu_pids(identity), signal.SIGSTOP)

        took = seconds_of(lambda: kata.remove(identity))

        print(f"task rm --force of a stopped machine: {took:.1f} s")
        assert took < SIGNAL_SECONDS + SLACK_SECONDS
        assert waiting() == 137


def test_stopped_virtiofsd_container_is_removed_by_force(kata):
    """Its process sits in the guest's kernel and does not even end of SIGKILL."""
    identity = kata.new_id()
    kata.start_detached(identity, "sh", "-c", "while :; do echo x >/file; done")
    harness.kill(virtiofsd_pids(identity), signal.SIGSTOP)
    time.sleep(1)  # for the loop to come to its next access

    took = seconds_of(lambda: kata.remove(identity))

    print(f"task rm --force with a stopped virtiofsd: {took:.1f} s")
    assert took < KILL_EFFECT_SECONDS + SLACK_SECONDS


def test_killed_virtiofsd_ends_the_container_with_137(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    with Shim.of(kata.bundle(identity)) as shim:
        waiting = in_background(lambda: shim.wait(identity))
        harness.kill(virtiofsd_pids(identity), signal.SIGKILL)

        took = seconds_of(waiting)

        print(f"Wait after kill -9 of virtiofsd: {took:.2f} s")
        assert waiting() == 137
        assert shim.state(identity) == "STOPPED"
        with pytest.raises(CallError) as error:
            shim.kill(identity, signal.SIGKILL)
        assert error.value.code == NOT_FOUND
    kata.remove(identity)


def test_broken_agent_ends_the_machine(kata):
    """Its end is a panic of the guest's kernel as well: it is PID 1."""
    began = time.monotonic()

    result = kata.run_config(powerful(kata, BREAK_AGENT), flags=kata.letting("pid"))

    print(f"ctr run after the agent's end and the guest's panic: {time.monotonic() - began:.1f} s, {result.err}")
    assert result.code == 137


def test_looping_agent_does_not_keep_its_container(kata):
    identity = kata.new_id()
    rewritten = kata.unpacked_rootfs() / "rewritten"
    rewritten.unlink(missing_ok=True)
    client = in_background(lambda: kata.run_config(powerful(kata, LOOP_AGENT), identity, kata.letting("pid")))
    harness.wait_for(rewritten.exists, "the agent to be rewritten")

    with Shim.of(kata.bundle(identity)) as shim:
        shim.kill(identity, signal.SIGKILL)
        took = seconds_of(lambda: shim.wait(identity))

    print(f"the end after SIGKILL with an agent that loops: {took:.1f} s")
    assert took < SIGNAL_SECONDS + SLACK_SECONDS
    assert client().code == 137


def test_guest_without_memory_kills_the_hog_only(kata):
    with kata.container() as identity:
        result = kata.exec(identity, "sh", "-c", "tail /dev/zero")

        assert result.code == 137
        assert kata.exec(identity, "echo", "alive").out == b"alive\n"
        assert kata.tasks()[identity][1] == "RUNNING"


def test_reading_client_goes_on_beside_one_that_never_reads(kata):
    """The silent one's pipe is full; its container still answers, and ends when it is killed."""
    with kata.container("sleep", "1000") as identity:
        silent = subprocess.Popen(kata.exec_command(identity, "yes", exec_id="silent"), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE)
        with Shim.of(kata.bundle(identity)) as shim:
            harness.wait_for(lambda: "silent" in kata.ctr("task", "ps", identity).out.decode(), "the silent exec")
            read = kata.exec(identity, "sh", "-c", "yes | head -c 3000000")
            assert len(read.out) == 3_000_000
            waiting = in_background(lambda: shim.wait(identity, "silent"))
            shim.kill(identity, signal.SIGKILL, "silent")
            assert waiting() == 137
        silent.stdout.read()
        assert silent.wait(timeout=harness.COMMAND_SECONDS) == 137
