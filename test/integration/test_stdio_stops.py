# SPDX-License-Identifier: Apache-2.0
"""Streams of many small writes while those who carry them stand still and go on, both ways; streams that nobody wants."""
import concurrent.futures
import contextlib
import hashlib
import itertools
import os
import signal
import subprocess
import threading
import time

import harness
from task_client import Exec, TaskClient
from test_fault_machine import in_background, powerful

LINES = 400_000
FIRST = 1_000_000  # so that each line has 8 bytes
INPUT_WRITES = 200_000
STOPS = 18
STOP_SECONDS = 0.5
GO_SECONDS = 0.2
CLIENTS = 15
EXECS_EACH = 20  # each takes the shim's two seconds of waiting for a reader
MEMORY_GROWTH_MAX = 32 << 20  # each abandoned exec once kept half a megabyte

# One write of 8 bytes per line.
SMALL_WRITES = f"seq {FIRST} {FIRST + LINES - 1} >/dev/shm/lines; exec dd if=/dev/shm/lines bs=8 2>/dev/null"


def lines(count=LINES):
    return b"".join(b"%d\n" % number for number in range(FIRST, FIRST + count))


def explain(got, expected):
    """Where `got` is wrong."""
    if got == expected:
        return ""
    common = os.path.commonprefix([got, expected])
    return f"{len(got)} of {len(expected)} bytes, right until line {len(common) // 8}"


@contextlib.contextmanager
def stopped_in_turns(*groups):
    """Each of the groups of pids stands still for a while, one after the other."""
    is_over = threading.Event()

    def stop():
        for pids in itertools.islice(itertools.cycle(groups), STOPS):
            if is_over.wait(GO_SECONDS):
                return
            with contextlib.suppress(ProcessLookupError):
                harness.kill(pids, signal.SIGSTOP)
            is_over.wait(STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                harness.kill(pids, signal.SIGCONT)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_small_writes_arrive_whole_while_all_stand_still_in_turns(kata):
    identity = kata.new_id()
    client = subprocess.Popen(kata.run_command("sh", "-c", SMALL_WRITES, identity=identity),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    got = client.stdout.read(8 * 1000)  # it runs
    with stopped_in_turns(kata.shim_pids(identity), [client.pid], kata.qemu_pids(identity)):
        got += client.stdout.read()

    assert client.wait(timeout=harness.COMMAND_SECONDS) == 0
    assert not explain(got, lines())


def test_small_writes_wait_for_a_reader_that_was_away(kata):
    """The credit for all that has waited goes back at once."""
    with kata.container() as identity, contextlib.closing(TaskClient(kata.bundle(identity))) as client:
        process = Exec(client, identity, "away", "sh", "-c", SMALL_WRITES).start()
        got = process.read(8)
        for _ in range(5):
            time.sleep(STOP_SECONDS)  # the queues on the way are full by then
            until = time.monotonic() + GO_SECONDS
            while time.monotonic() < until:
                got += process.read()
        while data := process.read():
            got += data

        assert not explain(got, lines())
        assert process.wait() == 0
        process.delete()


def test_small_inputs_arrive_whole_while_all_stand_still_in_turns(kata):
    data = lines(INPUT_WRITES)
    with kata.container() as identity, contextlib.closing(TaskClient(kata.bundle(identity))) as client:
        process = Exec(client, identity, "input", "sh", "-c", "sleep 2; exec sha256sum").start()
        with stopped_in_turns(kata.shim_pids(identity), kata.qemu_pids(identity)):
            for at in range(0, len(data), 8):
                os.write(process.stdin, data[at:at + 8])
        process.close_stdin()

        assert process.read().split()[0].decode() == hashlib.sha256(data).hexdigest()
        assert process.wait() == 0
        process.delete()


def test_input_is_read_by_a_program_that_has_closed_its_outputs(kata):
    data = lines(10_000)
    with kata.container() as identity, contextlib.closing(TaskClient(kata.bundle(identity))) as client:
        process = Exec(client, identity, "quiet", "sh", "-c",
                       "exec >/dev/null 2>&1; sleep 1; exec cat >/input").start()
        os.write(process.stdin, data[:1000])
        assert process.read() == b""  # the end of its output
        for at in range(1000, len(data), 1000):
            os.write(process.stdin, data[at:at + 1000])
        process.close_stdin()
        assert process.wait() == 0
        process.delete()

        assert not explain(kata.exec(identity, "cat", "/input").out, data)


def abandon(kata, identity, number, execs=EXECS_EACH):
    """Execs whose output nobody reads, one after the other, on a connection of their own."""
    with contextlib.closing(TaskClient(kata.bundle(identity))) as client:
        for count in range(execs):
            process = Exec(client, identity, f"x{number}-{count}", "sh", "-c",
                           "yes a line of output & yes a line of errors >&2 & exec cat").start()
            # Its pipe is full, so what comes after it is on its way.
            harness.wait_for(lambda p=process: Exec.read_now(p.stdout), "the first output")
            process.kill()
            assert process.wait() == 137
            process.delete()


def agent_descriptors(kata, identity):
    result = kata.exec(identity, "sh", "-c", "ls /proc/1/fd | wc -l")
    assert result.code == 0, result.err
    return int(result.out)


def resident(pid):
    return int(harness.read(f"/proc/{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_abandoned_execs_leave_nothing_in_shim_and_agent(kata):
    identity = kata.new_id()
    client = in_background(lambda: kata.run_config(powerful(kata, "sleep 10000"), identity, kata.letting("pid"), 10 * harness.COMMAND_SECONDS))
    harness.wait_for(lambda: kata.tasks().get(identity, (0, ""))[1] == "RUNNING", "the container")
    shim, = kata.shim_pids(identity)
    abandon(kata, identity, "first", 3)  # what is made once is there then
    descriptors, memory = len(os.listdir(f"/proc/{shim}/fd")), resident(shim)
    agent = agent_descriptors(kata, identity)

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda number: abandon(kata, identity, number), range(CLIENTS)))

    harness.wait_for(lambda: agent_descriptors(kata, identity) <= agent, "the agent to close what was abandoned")
    harness.wait_for(lambda: len(os.listdir(f"/proc/{shim}/fd")) <= descriptors, "the shim to close what was abandoned")
    print(f"shim after {CLIENTS * EXECS_EACH} abandoned execs: {(resident(shim) - memory) / 1e6:.1f} MB more")
    assert resident(shim) < memory + MEMORY_GROWTH_MAX
    kata.ctr("task", "kill", "-s", "SIGKILL", identity)
    assert client().code == 137
