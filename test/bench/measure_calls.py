# SPDX-License-Identifier: Apache-2.0
"""Calls to a shim without containerd in between: execs, State, Connect, Stats; and bytes through fifos."""
import contextlib
import statistics
import time

from bench_calls import INPUT_MIB, OUTPUT_MIB, Calls
from raw_port import raw_port
from task_client import TaskClient

CALLS = 500
AT_ONCE = 64
ROUNDS_AT_ONCE = 20
PERCENT_99 = 99


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


@contextlib.contextmanager
def clients(bench, flags=()):
    """[(subject, id, client)] of a running container each."""
    with contextlib.ExitStack() as stack:
        made = []
        for subject in bench.subjects.values():
            identity = stack.enter_context(subject.container(flags=flags))
            client = stack.enter_context(contextlib.closing(TaskClient(subject.engine.bundle(identity))))
            made.append((subject, identity, client))
        yield made


def execs(bench):
    for what, flags in (("", ()), (" with a seccomp profile", ("--seccomp",))):
        with clients(bench, flags) as made:
            calls = [(subject, Calls(client, identity)) for subject, identity, client in made]
            for _ in range(bench.pairs):
                for subject, each in calls:
                    bench.add(f"exec of true, Task API{what}", "ms", subject.name, 1000 * each.exec_seconds(count=5), "/ runc <= 1.0")


def small_calls(bench):
    with clients(bench) as made:
        for method in ("State", "Connect", "Stats"):
            for _ in range(bench.pairs):
                for subject, identity, client in made:
                    times = [timed(lambda c=client, i=identity, m=method: c.call(m, {1: i})) for _ in range(CALLS // bench.pairs + 1)]
                    bench.add(f"{method}, one caller", "ms", subject.name, 1000 * statistics.median(times))
                    bench.add(f"{method}, one caller, 99 of 100", "ms", subject.name, 1000 * percentile(times, PERCENT_99))
        for _ in range(bench.pairs):
            for subject, identity, client in made:
                latencies, began = [], time.monotonic()
                for _ in range(ROUNDS_AT_ONCE):
                    latencies += at_once([client] * AT_ONCE, identity)
                rate = ROUNDS_AT_ONCE * AT_ONCE / (time.monotonic() - began)
                bench.add(f"State, {AT_ONCE} at once, 99 of 100", "ms", subject.name, 1000 * percentile(latencies, PERCENT_99), "/ runc <= 1.0")
                bench.add(f"State, {AT_ONCE} at once", "/s", subject.name, rate)
        for subject, identity, client in made:
            with contextlib.ExitStack() as stack:
                callers = [stack.enter_context(contextlib.closing(TaskClient(subject.engine.bundle(identity)))) for _ in range(AT_ONCE)]
                for _ in range(bench.pairs):
                    latencies = [latency for _ in range(ROUNDS_AT_ONCE) for latency in at_once(callers, identity)]
                    bench.add(f"State, {AT_ONCE} connections, 99 of 100", "ms", subject.name, 1000 * percentile(latencies, PERCENT_99), "/ runc <= 1.0")


def at_once(callers, identity):
    """The times until the answers to calls that were sent together, this program's own part included."""
    began = time.monotonic()
    sent = [(client, client.begin("State", {1: identity})) for client in callers]
    times = []
    for client, number in sent:
        client.finish(number)
        times.append(time.monotonic() - began)
    return times


def timed(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def streams(bench):
    rates(bench)
    echoes(bench)


def rates(bench):
    """Beside a raw machine's port, the same kind that the agent's channel has."""
    def add(name, source):
        for what, rate, mib, goal in (("output, dd to the client's fifo", source.output_rate, OUTPUT_MIB, "/ raw >= 0.6"),
                                      ("input, the client's fifo to dd", source.input_rate, INPUT_MIB, "")):
            mib = bench.fewer(mib)
            cpu = bench.account.seconds()
            bench.add(what, "MB/s", name, rate(mib) / 1e6, goal)
            bench.add(f"{what}, each MiB, processor", "ms", name, 1000 * (bench.account.seconds() - cpu) / mib)
    with clients(bench) as made, raw_port(bench) as port:
        calls = [(subject, Calls(client, identity)) for subject, identity, client in made]
        for _ in range(bench.rounds):
            for subject, each in calls:
                bench.add("the container's own dd | dd", "MB/s", subject.name, each.ceiling() / 1e6)
                add(subject.name, each)
            add("raw", port)


def echoes(bench):
    with clients(bench) as made:
        calls = [(subject, Calls(client, identity)) for subject, identity, client in made]
        for _ in range(bench.rounds):
            for subject, each in calls:
                idle = each.echo_seconds(echoes=100)
                with each.flood():
                    loaded = each.echo_seconds(echoes=100)
                bench.add("terminal echo of 64 bytes, idle", "ms", subject.name, 1000 * statistics.median(idle))
                bench.add("terminal echo of 64 bytes, beside a flood", "ms", subject.name, 1000 * statistics.median(loaded), "<= 2 ms")
                bench.add("terminal echo beside a flood, slowest of 100", "ms", subject.name, 1000 * loaded[-1])
