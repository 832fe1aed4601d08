# SPDX-License-Identifier: Apache-2.0
"""Slow and stopped processes of a pod; its containers' own; calls to a shim that is busy with another one."""
import contextlib
import signal
import threading
import time

import pytest

import harness
from test_fault_machine import in_background, median, seconds_of, virtiofsd_pids
from ttrpc_client import NOT_FOUND, CallError, Shim

FAST_CALLS = 40
FAST_SECONDS = 0.05
GROUP = "io.containerd.runc.v2.group"


@contextlib.contextmanager
def slowed(pids):
    """The processes run a tenth of the time."""
    assert pids
    is_over = threading.Event()

    def throttle():
        while not is_over.is_set():
            with contextlib.suppress(ProcessLookupError):
                harness.kill(pids, signal.SIGSTOP)
                time.sleep(0.09)
                harness.kill(pids, signal.SIGCONT)
            time.sleep(0.01)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.mark.parametrize("which", ["shim", "machine", "virtiofsd"])
def test_slow_process_is_slow_and_no_more(kata, which):
    with kata.container() as identity:
        pids = {"shim": kata.shim_pids, "machine": kata.qemu_pids, "virtiofsd": virtiofsd_pids}[which](identity)
        with slowed(pids):
            began = time.monotonic()
            result = kata.exec(identity, "sh", "-c", "echo words >/file; cat /file; exit 5")
            print(f"exec with a slow {which}: {time.monotonic() - began:.1f} s")
            assert (result.code, result.out) == (5, b"words\n")


def test_stopped_shim_goes_on_where_it_was(kata):
    with kata.container() as identity:
        harness.kill(kata.shim_pids(identity), signal.SIGSTOP)
        took = seconds_of(lambda: kata.tasks())
        status = kata.tasks()[identity][1]
        harness.kill(kata.shim_pids(identity), signal.SIGCONT)

        print(f"ctr task ls with a stopped shim: {took:.1f} s, {status}")
        assert status == "UNKNOWN"
        harness.wait_for(lambda: kata.tasks()[identity][1] == "RUNNING", "the state")
        assert kata.exec(identity, "echo", "alive").out == b"alive\n"


def test_init_is_stopped_continued_and_killed(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    for name in ("SIGSTOP", "SIGCONT", "SIGSTOP"):
        assert kata.ctr("task", "kill", "-s", name, identity).code == 0
        assert kata.tasks()[identity][1] == "RUNNING"

    assert kata.ctr("task", "kill", "-s", "SIGKILL", identity).code == 0

    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")
    assert "exit code 137" in kata.ctr("task", "rm", identity).err
    kata.remove(identity)


def test_calls_are_fast_while_the_machine_boots(kata):
    """Of the container whose machine it is there is nothing yet, and that is said at once."""
    identity = kata.new_id()
    client = in_background(lambda: kata.run("true", identity=identity))
    harness.wait_for(lambda: kata.qemu_pids(identity), "the machine's process")
    states = []
    with Shim.of(kata.bundle(identity)) as shim:
        for _ in range(FAST_CALLS):
            began = time.monotonic()
            with contextlib.suppress(CallError):
                shim.state(identity)
            with contextlib.suppress(CallError):
                shim.kill(identity, 0)
            shim.connect(identity)
            states.append(time.monotonic() - began)
    assert client().code == 0

    print(f"State, Kill and Connect during a boot: {median(states) * 1000:.1f} ms")
    assert median(states) < FAST_SECONDS


def test_calls_are_fast_while_another_container_of_the_pod_is_made(kata):
    """Its Create waits for a machine that stands still; State and Connect wait for nothing."""
    first, second = kata.new_id(), kata.new_id()
    flags = ("--annotation", f"{GROUP}={first}")
    kata.start_detached(first, "sleep", "1000", flags=flags)
    with Shim.of(kata.bundle(first)) as shim:
        before = [seconds_of(lambda: shim.kill(first, 0)) for _ in range(FAST_CALLS)]
        machine = [shim.connect(first)[2]]  # named after the group
        harness.kill(machine, signal.SIGSTOP)
        client = in_background(lambda: kata.run("echo", "second", flags=flags, identity=second))
        harness.wait_for(lambda: (kata.bundle(second) / "address").exists(), "the second container's start")
        states = [seconds_of(lambda: shim.state(first)) for _ in range(FAST_CALLS)]
        connects = [seconds_of(lambda: shim.connect(first)) for _ in range(FAST_CALLS)]
        harness.kill(machine, signal.SIGCONT)
        during = [seconds_of(lambda: shim.kill(first, 0)) for _ in range(FAST_CALLS)]
        assert client().out == b"second\n"

    print(f"State {median(states) * 1000:.1f} ms, Connect {median(connects) * 1000:.1f} ms with a stopped machine; "
          f"Kill {median(before) * 1000:.1f} ms alone, {median(during) * 1000:.1f} ms beside a Create")
    assert max(median(states), median(connects), median(during)) < FAST_SECONDS
    kata.remove(first)


def test_state_after_the_end_is_never_running(kata):
    """From the moment that Wait has returned."""
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    with Shim.of(kata.bundle(identity)) as shim:
        waiting = in_background(lambda: (shim.wait(identity), shim.state(identity)))
        harness.kill(kata.qemu_pids(identity), signal.SIGKILL)
        assert waiting() == (137, "STOPPED")
        for signal_number in (0, signal.SIGTERM, signal.SIGKILL):
            with pytest.raises(CallError) as error:
                shim.kill(identity, signal_number)
            assert error.value.code == NOT_FOUND
    kata.remove(identity)
