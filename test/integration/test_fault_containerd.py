# SPDX-License-Identifier: Apache-2.0
"""containerd goes away, at bad moments, and comes back."""
import contextlib
import os
import signal
import subprocess
import time

import harness
from ttrpc_client import EventSocket, Shim

AWAY_SECONDS = 31  # the shim has tried in vain many times by then


def restart(kata, how=signal.SIGKILL):
    kata.stop(how)
    kata.start()


def test_killed_while_a_container_is_created(kata):
    """The client gets an error; what was begun can be removed; the id can be used again."""
    identity = kata.new_id()
    client = subprocess.Popen(kata.run_command("true", identity=identity), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    harness.wait_for(lambda: kata.qemu_pids(identity), "the machine's process")

    restart(kata)

    assert client.communicate(timeout=harness.COMMAND_SECONDS)[1]
    # Its Create goes on without a caller: then it is a task like others, or the shim sees that nobody knows it.
    harness.wait_for(lambda: identity in kata.tasks() or not kata.shim_pids(identity), "the task or its end")
    kata.remove(identity)
    assert kata.run("echo", "again", identity=identity).out == b"again\n"


def test_killed_while_an_exec_starts_and_runs(kata):
    with kata.container() as identity:
        execs = [subprocess.Popen(kata.exec_command(identity, "sh", "-c", f"sleep {i}; echo done >/tmp/done{i}"),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                 for i in range(3)]
        harness.wait_for(lambda: kata.exec(identity, "test", "-e", "/tmp/done0").code == 0, "the first exec to end")

        restart(kata)

        for client in execs:
            client.communicate(timeout=harness.COMMAND_SECONDS)
        assert kata.tasks()[identity][1] == "RUNNING"
        harness.wait_for(lambda: kata.exec(identity, "ls", "/tmp").out.split() == [b"done0", b"done1", b"done2"],
                         "the execs to go on to their ends")


def test_killed_while_output_comes(kata, tmp_path):
    """Each line arrives, once, in order: the shim writes them, not containerd."""
    identity, out, lines = kata.new_id(), tmp_path / "out", 60
    script = f"i=0; while [ $i -lt {lines} ]; do echo $i; i=$((i + 1)); sleep 0.1; done"
    result = kata.ctr("run", "--detach", "--runtime", harness.RUNTIME, "--log-uri", f"file://{out}", harness.IMAGE,
                      identity, "sh", "-c", script)
    assert result.code == 0, result.err
    harness.wait_for(lambda: out.exists() and out.read_text(encoding="utf-8").count("\n") > 5, "the first lines")

    restart(kata)

    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")
    assert out.read_text(encoding="utf-8").split() == [str(i) for i in range(lines)]
    kata.remove(identity)


def test_events_of_its_absence_are_delivered_when_it_is_back(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    bundle = kata.bundle(identity)
    kata.stop(signal.SIGKILL)
    with Shim.of(bundle) as shim:
        shim.kill(identity, signal.SIGKILL)
        assert shim.wait(identity) == 137
    time.sleep(AWAY_SECONDS)

    events = EventSocket(kata.address + ".ttrpc")
    try:
        harness.wait_for(lambda: events.events, "the event")
    finally:
        events.close()
        kata.start()

    topic, event = events.events[0]
    assert topic == "/tasks/exit"
    assert (event[1].decode(), event[4]) == (identity, 137)
    assert "exit code 137" in kata.ctr("task", "rm", identity).err
    kata.remove(identity)


def test_standing_still_with_a_full_log(kata):
    """Nobody reads the shim's log lines; the shim does not wait for that."""
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    with Shim.of(kata.bundle(identity)) as shim:
        os.kill(kata.process.pid, signal.SIGSTOP)
        try:
            fill(kata.bundle(identity) / "log")
            began = time.monotonic()
            shim.kill(identity, signal.SIGKILL)
            assert shim.wait(identity) == 137
            assert shim.state(identity) == "STOPPED"
            print(f"Kill, Wait and State with a full log: {time.monotonic() - began:.2f} s")
        finally:
            os.kill(kata.process.pid, signal.SIGCONT)
    kata.remove(identity)


def fill(path):
    log = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(log, b"\n" * size)
    os.close(log)
