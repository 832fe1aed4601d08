# SPDX-License-Identifier: Apache-2.0
"""The guest's clock is the host's: at a container's start, and again after whatever has happened to it.

A program in the container tells its clock through the container's standard streams. The question that is answered
soonest counts, and only what is wrong by more than its round trip can explain.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

import harness

BOUND_NS = 10_000_000  # on top of what a question cannot tell; a clock that nobody corrects is wrong by 15 to 50 ms
START_BOUND_NS = 1_000_000_000
QUESTIONS = 20
STAND_STILL_SECONDS = 3
HOUR_NS = 3_600_000_000_000


@pytest.fixture(scope="module")
def probe():
    path = pathlib.Path(os.environ.get("KATA_CLOCK_PROBE", harness.REPOSITORY / "build/ci/test/clock_probe"))
    assert path.exists(), f"no {path}; build the target clock_probe"
    return path


class Clock:
    """The clock of a container that runs the probe."""

    def __init__(self, client, identity):
        self.client = client
        self.identity = identity

    def ask(self, word):
        self.client.stdin.write(word + b"\n")
        self.client.stdin.flush()
        line = self.client.stdout.readline()
        assert line, f"the probe has ended with {self.client.wait()}"
        return line.strip()

    def offset(self):
        """(round trip, how far it is ahead of the host's), in nanoseconds, by the question that is answered soonest."""
        samples = []
        for _ in range(QUESTIONS):
            before = time.time_ns()
            shown = int(self.ask(b"now"))
            after = time.time_ns()
            samples.append((after - before, shown - (before + after) // 2))
        return min(samples)

    def wrong_ns(self, what):
        """At least so much."""
        round_trip, ahead = self.offset()
        print(f"{what}: ahead by {ahead / 1e6:.2f} ms, give or take {round_trip / 2e6:.2f}")
        return abs(ahead) - round_trip // 2

    def wait_right(self, what):
        harness.wait_for(lambda: self.wrong_ns(what) < BOUND_NS, f"the guest's clock to be right {what}")


@contextlib.contextmanager
def clock_of(kata, probe, *flags):
    identity = kata.new_id("clock")
    command = kata.run_command("/clock_probe", identity=identity,
                               flags=("--mount", f"type=bind,src={probe},dst=/clock_probe,options=bind:ro", *flags))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        try:
            yield Clock(client, identity)
        finally:
            client.stdin.close()
            client.wait(timeout=harness.COMMAND_SECONDS)


def test_clock_is_right_from_the_start(kata, probe):
    with clock_of(kata, probe) as clock:
        file_ahead = int(clock.ask(b"file"))
        print(f"a file made first of all: dated {file_ahead / 1e6:.2f} ms after the guest's now")

        assert file_ahead < START_BOUND_NS
        assert clock.wrong_ns("at the start") < START_BOUND_NS
        harness.wait_for(lambda: int(clock.ask(b"file")) < BOUND_NS, "files not to be dated in the future")
        clock.wait_right("after the start")


def test_clock_is_right_after_the_machine_stood_still(kata, probe):
    with clock_of(kata, probe) as clock:
        clock.wrong_ns("before")
        (machine,) = kata.qemu_pids(clock.identity)
        os.kill(machine, signal.SIGSTOP)
        time.sleep(STAND_STILL_SECONDS)
        os.kill(machine, signal.SIGCONT)

        clock.wait_right("after QEMU stood still")


def test_clock_is_right_after_a_pause(kata, probe):
    with clock_of(kata, probe) as clock:
        clock.wrong_ns("before")
        assert kata.ctr("task", "pause", clock.identity).code == 0
        time.sleep(STAND_STILL_SECONDS)
        assert kata.ctr("task", "resume", clock.identity).code == 0

        clock.wait_right("after a pause")


@pytest.mark.skipif(not harness.RUNTIME.startswith("io.containerd.kata"), reason="it would set the host's clock")
@pytest.mark.parametrize("wrong_ns", [HOUR_NS, -HOUR_NS, 200_000_000])
def test_clock_that_was_set_wrong_comes_back(kata, probe, wrong_ns):
    """As after a suspend, or a stop of the machine's clock: the host notices by itself."""
    with clock_of(kata, probe, "--cap-add", "CAP_SYS_TIME") as clock:
        assert clock.ask(b"set %d" % wrong_ns) == b"set"
        clock.wrong_ns("set wrong")

        began = time.monotonic()
        clock.wait_right("after it was set wrong")
        print(f"set wrong by {wrong_ns / 1e6:.0f} ms; right again after {time.monotonic() - began:.1f} s")
