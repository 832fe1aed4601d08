# SPDX-License-Identifier: Apache-2.0
"""Pause, resume, statistics and want of memory, as an operator sees them."""
import contextlib
import json
import subprocess
import time

import harness

MEMORY_LIMIT = 64 << 20


@contextlib.contextmanager
def events(kata, path):
    """Writes containerd's events to `path` while the body runs."""
    with open(path, "wb") as out:
        listener = subprocess.Popen(kata.command("events"), stdin=subprocess.DEVNULL, stdout=out)
    try:
        # The listener says nothing when it is ready: an event of our own that it has written shows it.
        def is_listening():
            kata.ctr("namespaces", "label", "default", f"probe={time.monotonic_ns()}")
            return path.stat().st_size > 0
        harness.wait_for(is_listening, "the listener of events")
        yield
    finally:
        listener.kill()
        listener.wait()
        kata.ctr("namespaces", "label", "default", "probe=")


def topics(path, identity):
    """The task topics of one container in their order."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split(" ", 6)
        topic = next((word for word in words if word.startswith("/tasks/")), None)
        if topic and json.loads(line[line.index("{"):]).get("container_id") == identity:
            found.append(topic)
    return found


def test_paused_container_stands_still_and_goes_on(kata, tmp_path):
    with kata.container("sh", "-c", "while :; do echo x; sleep 0.05; done >/tmp/ticks") as identity:
        assert kata.ctr("task", "pause", identity).code == 0
        assert kata.tasks()[identity][1] == "PAUSED"
        refused = kata.exec(identity, "true")
        assert refused.code != 0 and "paused" in str(refused.err)
        assert kata.ctr("task", "pause", identity).code != 0
        used = cpu_ns(kata, identity)
        time.sleep(1)
        assert cpu_ns(kata, identity) == used

        assert kata.ctr("task", "resume", identity).code == 0
        assert kata.tasks()[identity][1] == "RUNNING"
        assert kata.exec(identity, "true").code == 0
        assert cpu_ns(kata, identity) > used


def cpu_ns(kata, identity):
    return metrics(kata, identity)["cpuacct.usage"]


def metrics(kata, identity):
    """Only the numbers. The names are those of the host's cgroup version."""
    result = kata.ctr("task", "metrics", identity)
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.decode().splitlines()]
    values = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    if "cpuacct.usage" not in values:
        values["cpuacct.usage"] = values["cpu.usage_usec"] * 1000
    return values


def test_statistics_name_the_limit_and_the_use(kata):
    with kata.container("sleep", "1000", flags=("--memory-limit", str(MEMORY_LIMIT))) as identity:
        values = metrics(kata, identity)

        assert MEMORY_LIMIT in values.values()
        assert 0 < min(value for name, value in values.items() if name.startswith("memory.usage")) < MEMORY_LIMIT
        assert values["pids.current"] == 1
        assert values["cpuacct.usage"] > 0


def test_want_of_memory_is_told_before_the_exit(kata, tmp_path):
    identity = kata.new_id()
    path = tmp_path / "events"
    with events(kata, path):
        client = subprocess.Popen(
            kata.run_command("sh", "-c", "x=a; while :; do x=$x$x; done", identity=identity,
                             flags=("--memory-limit", str(MEMORY_LIMIT))),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert client.wait(timeout=harness.COMMAND_SECONDS) == 137
        harness.wait_for(lambda: "/tasks/delete" in topics(path, identity), "the last event")

    assert topics(path, identity) == ["/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit", "/tasks/delete"]


def test_paused_container_can_be_killed(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    assert kata.ctr("task", "pause", identity).code == 0

    assert kata.ctr("task", "kill", "-s", "SIGKILL", identity).code == 0

    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")
    kata.remove(identity)


def test_killed_shim_of_a_paused_container_leaves_nothing(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    assert kata.ctr("task", "pause", identity).code == 0

    harness.kill(kata.shim_pids(identity))

    harness.wait_for(lambda: identity not in kata.tasks(), "containerd to forget the task")
    kata.remove(identity)
