# SPDX-License-Identifier: Apache-2.0
"""Tasks as clients of containerd see them: states, events, pause, deletion."""
import contextlib
import json
import subprocess
import time

import harness
from case import function

LOOP = "echo ready; while :; do sleep 0.1; done"


@contextlib.contextmanager
def events(side):
    """A list that is filled with (topic, event) when the block has ended."""
    path = side.directory / f"events-{side.new_id()}"
    found = []
    with open(path, "wb") as out:
        listener = subprocess.Popen(side.command("events"), stdin=subprocess.DEVNULL, stdout=out)
    try:
        def is_listening():
            side.ctr("namespaces", "label", "default", f"probe={time.monotonic_ns()}")
            return path.stat().st_size > 0
        harness.wait_for(is_listening, "the listener of events")
        yield path, found
    finally:
        listener.kill()
        listener.wait()
        found += read_events(path)
        path.unlink()


def read_events(path):
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        topic = next((word for word in line.split(" ", 6) if word.startswith("/tasks/")), None)
        if topic:
            with contextlib.suppress(ValueError):  # the line is still being written
                found.append((topic, json.loads(line[line.index("{"):])))
    return found


def watched(side, identity, last, act):
    """The events of one container while `act` runs, until `last` has come, as lines."""
    with events(side) as (path, found):
        act()
        harness.wait_for(lambda: any(topic == last and event.get("container_id") == identity for topic, event in read_events(path)), last)
    lines = []
    for topic, event in found:
        if event.get("container_id") == identity:
            kept = {key: value for key, value in event.items() if key in ("exit_status", "exec_id", "id")}
            lines.append(f"{topic} {json.dumps(kept, sort_keys=True)}")
    return side.clean("\n".join(lines))


@function("tasks/events-of-a-run", r"/tasks/exit .*\"exit_status\": 3")
def _run(side):
    identity = side.new_id()
    return watched(side, identity, "/tasks/delete", lambda: side.run("sh", "-c", "exit 3", identity=identity))


@function("tasks/events-of-exec", r"/tasks/exec-started")
def _exec(side):
    with side.container() as identity:
        exec_id = side.new_id()
        return watched(side, identity, "/tasks/exit", lambda: side.exec(identity, "sh", "-c", "exit 4", exec_id=exec_id))


@function("tasks/events-of-pause", r"/tasks/resumed")
def _pause_events(side):
    with side.container() as identity:
        return watched(side, identity, "/tasks/resumed", lambda: (side.ctr("task", "pause", identity), side.ctr("task", "resume", identity)))


@function("tasks/events-of-a-failed-start", r"/tasks/")
def _failed_events(side):
    identity = side.new_id()
    try:
        with events(side) as (_, found):
            side.run("/none-such", identity=identity)
            time.sleep(2)  # what does not come cannot be waited for
    finally:
        side.ctr("container", "rm", identity)
    return "/tasks/ " + " ".join(topic for topic, event in found if event.get("container_id") == identity)


@function("tasks/states", r"^RUNNING$")
def _states(side):
    with side.running("sh", "-c", LOOP) as (identity, client):
        states = [side.status(identity)]
        side.ctr("task", "pause", identity)
        states.append(side.status(identity))
        side.ctr("task", "resume", identity)
        states.append(side.status(identity))
        side.ctr("task", "kill", "-s", "SIGKILL", identity)
        client.wait(harness.COMMAND_SECONDS)
        states.append(side.status(identity))
        return "\n".join(states)


@function("tasks/stopped-until-deleted", r"STOPPED")
def _stopped(side):
    with side.container("sh", "-c", "exit 6") as identity:
        state = side.wait_status(identity, "STOPPED")
        deleted = side.ctr("task", "rm", identity)
        return f"{state}\n{side.outcome(deleted)}\n{side.status(identity)}"


@function("tasks/deleting-a-running-one", r"exit 1")
def _delete_running(side):
    with side.container() as identity:
        return f"{side.failure(side.ctr('task', 'rm', identity))}\n{side.status(identity)}"


@function("tasks/force-deleting-a-running-one", r"exit")
def _force(side):
    with side.container() as identity:
        return f"{side.outcome(side.ctr('task', 'rm', '--force', identity))}\n{side.status(identity)}"


@function("tasks/deleting-twice", r"exit 1")
def _delete_twice(side):
    with side.container("true") as identity:
        side.wait_status(identity, "STOPPED")
        return f"{side.outcome(side.ctr('task', 'rm', identity))}\n{side.failure(side.ctr('task', 'rm', identity))}"


@function("tasks/started-again-after-deletion", r"RUNNING")
def _again(side):
    with side.container("sh", "-c", "test -e /mark && exec sleep 1000; echo x >/mark; exit 2") as identity:
        side.wait_status(identity, "STOPPED")
        side.ctr("task", "rm", identity)
        result = side.ctr("task", "start", "--detach", "--null-io", identity)
        return f"{side.outcome(result)}\n{side.wait_status(identity, 'RUNNING')}"


@function("tasks/paused-refuses-exec", r"exit 1")
def _paused_exec(side):
    with side.container() as identity:
        side.ctr("task", "pause", identity)
        refused = side.failure(side.exec(identity, "true"))
        side.ctr("task", "resume", identity)
        return f"{refused}\n{side.outcome(side.exec(identity, 'echo', 'goes on'))}"


@function("tasks/paused-twice", r"exit")
def _paused_twice(side):
    with side.container() as identity:
        side.ctr("task", "pause", identity)
        second = side.failure(side.ctr("task", "pause", identity))
        state = side.status(identity)
        side.ctr("task", "resume", identity)
        return f"{second}\n{state}"


@function("tasks/resumed-without-pause", r"exit")
def _resumed(side):
    with side.container() as identity:
        return f"{side.failure(side.ctr('task', 'resume', identity))}\n{side.status(identity)}"


@function("tasks/paused-stands-still", r"^still$")
def _still(side):
    with side.container("sh", "-c", "while :; do echo x >>/ticks; sleep 0.05; done") as identity:
        harness.wait_for(lambda: side.exec(identity, "test", "-s", "/ticks").code == 0, "ticks")
        side.ctr("task", "pause", identity)
        states = [side.status(identity)]
        side.ctr("task", "resume", identity)
        before = int(side.exec(identity, "wc", "-l", "/ticks").out.split()[0])
        side.ctr("task", "pause", identity)
        time.sleep(2)
        side.ctr("task", "resume", identity)
        after = int(side.exec(identity, "wc", "-l", "/ticks").out.split()[0])
        harness.wait_for(lambda: int(side.exec(identity, "wc", "-l", "/ticks").out.split()[0]) > after, "the next tick")
        del before
        return "\n".join((*states, "still"))


@function("tasks/paused-is-killed", r"STOPPED")
def _paused_killed(side):
    with side.container() as identity:
        side.ctr("task", "pause", identity)
        killed = side.ctr("task", "kill", "-s", "SIGKILL", identity)
        side.ctr("task", "resume", identity)
        return f"{side.outcome(killed)}\n{side.wait_status(identity, 'STOPPED')}"


@function("tasks/list-of-processes", r"^\d+$")
def _processes(side):
    with side.container("sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000") as identity:
        harness.wait_for(lambda: len(side.exec(identity, "pidof", "sleep").out.split()) == 3, "three processes")
        return str(len(side.ctr("task", "ps", identity).out.splitlines()) - 1)


@function("tasks/pid-is-of-a-process", r"lives")
def _pid(side):
    with side.container() as identity:
        pid = side.tasks()[identity][0]
        return "lives" if harness.read(f"/proc/{pid}/cmdline") else "none"


@function("tasks/metrics", r"memory")
def _metrics(side):
    with side.container("sleep", "1000", flags=("--memory-limit", str(64 << 20))) as identity:
        result = side.ctr("task", "metrics", identity)
        names = {line.split()[0] for line in result.out.decode().splitlines() if len(line.split()) == 2 and line.split()[1].isdigit()}
        return "\n".join(sorted(name for name in names if name.split(".")[0] in ("memory", "pids", "cpuacct", "cpu")))


@function("tasks/metrics-count-processes", r"^3$")
def _count(side):
    with side.container("sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000") as identity:
        def current():
            lines = side.ctr("task", "metrics", identity).out.decode().splitlines()
            return next((line.split()[1] for line in lines if line.startswith("pids.current")), "0")
        harness.wait_for(lambda: current() == "3", "three processes")
        return current()


@function("tasks/want-of-memory-is-an-event", r"/tasks/oom")
def _oom(side):
    identity = side.new_id()
    text = watched(side, identity, "/tasks/delete", lambda: side.run(
        "sh", "-c", "x=a; while :; do x=$x$x; done", identity=identity, flags=("--memory-limit", str(64 << 20))))
    return "\n".join(sorted(set(text.splitlines())))


@function("tasks/information", r"^Labels")
def _information(side):
    with side.container("true", flags=("--label", "word=value")) as identity:
        information = json.loads(side.ctr("container", "info", identity).out)
        return side.clean("\n".join(sorted(key for key in information)) + f"\n{information['Labels'].get('word')}")
