# SPDX-License-Identifier: Apache-2.0
"""Signals: what a process starts with, and those that clients send."""
import subprocess

import harness
from case import command, execute, function, own, script

command("signals/init", ("probe", "signals"), r"pending: none")
script("signals/child-of-a-shell", "probe signals", r"pending: none")
execute("signals/exec", ("probe", "signals"), r"pending: none")
own("signals/init-is-not-killed-from-inside", "kill -KILL 1; kill -TERM 1; echo lives", r"lives")
own("signals/init-handles-its-own", "trap 'echo caught; exit 9' USR1; kill -USR1 1; sleep 1; exit 1", r"caught")
own("signals/child-killed", "sleep 100 & kill -KILL $!; wait $!; echo $?", r"^137$")
own("signals/stop-and-go-on", "sleep 0.5 & kill -STOP $!; sleep 0.2; grep -o 'T (stopped)' /proc/$!/status; kill -CONT $!; wait $!; echo $?", r"T \(stopped\)")
own("signals/all-of-the-container", "(trap 'echo child; exit 3' TERM; while :; do sleep 0.1; done) & sleep 0.7; kill -TERM -1; wait $!; echo $?", r"child")
own("signals/broken-pipe", "sh -c 'sleep 0.3; echo x; echo $? >&2' | true; echo end", r"end")


def _sent(name, signal, script_text, has):
    @function(f"signals/{name}", has)
    def run(side):
        with side.running("sh", "-c", script_text) as (identity, client):
            sent = side.ctr("task", "kill", "-s", signal, identity)
            return f"kill: {side.outcome(sent)}\n{side.finish(client)}"
    return run


LOOP = "echo ready; while :; do sleep 0.1; done"
for _signal, _code in (("SIGKILL", 137), ("SIGTERM", None), ("9", 137)):
    if _code is not None:
        _sent(f"sent-{_signal.lower()}", _signal, LOOP, rf"exit {_code}")
for _signal in ("TERM", "INT", "HUP", "USR1", "USR2", "QUIT", "ALRM", "WINCH", "PIPE", "URG"):
    _sent(f"caught-sig{_signal.lower()}", f"SIG{_signal}", f"trap 'echo caught; exit 8' {_signal}; {LOOP}", r"caught")
_sent("real-time-signal", "40", f"trap 'echo caught; exit 8' 40; {LOOP}", r"caught")
_sent("unhandled-sigterm-of-init-with-handler-of-another", "SIGTERM", f"trap 'exit 4' USR1; trap 'echo term; exit 5' TERM; {LOOP}", r"exit 5")


@function("signals/unhandled-by-init-is-ignored", r"RUNNING")
def _unhandled(side):
    with side.container("sleep", "1000") as identity:
        side.ctr("task", "kill", "-s", "SIGUSR1", identity)
        side.ctr("task", "kill", "-s", "SIGTERM", identity)
        return f"{side.outcome(side.exec(identity, 'echo', 'lives'))}\n{side.status(identity)}"


@function("signals/all-processes", r"STOPPED")
def _all(side):
    with side.container("sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000") as identity:
        result = side.ctr("task", "kill", "-a", "-s", "SIGKILL", identity)
        return f"{side.outcome(result)}\n{side.wait_status(identity, 'STOPPED')}"


@function("signals/stop-of-init", r"T \(stopped\)")
def _stop(side):
    with side.container("sh", "-c", "trap : TERM; while :; do sleep 0.1; done") as identity:
        side.ctr("task", "kill", "-s", "SIGSTOP", identity)
        harness.wait_for(lambda: b"stopped" in side.exec(identity, "cat", "/proc/1/status").out, "the stop")
        state = side.exec(identity, "grep", "State", "/proc/1/status").out.decode()
        side.ctr("task", "kill", "-s", "SIGCONT", identity)
        harness.wait_for(lambda: b"stopped" not in side.exec(identity, "cat", "/proc/1/status").out, "the end of the stop")
        return f"{state}{side.status(identity)}"


@function("signals/unknown-name", r"exit 1")
def _unknown(side):
    with side.standing() as identity:
        return side.failure(side.ctr("task", "kill", "-s", "SIGNONE", identity))


@function("signals/number-too-high", r"exit")
def _too_high(side):
    with side.container() as identity:
        return side.failure(side.ctr("task", "kill", "-s", "99", identity)) + f"\n{side.status(identity)}"


@function("signals/of-a-stopped-task", r"exit 1")
def _of_stopped(side):
    with side.container("true") as identity:
        side.wait_status(identity, "STOPPED")
        return side.failure(side.ctr("task", "kill", "-s", "SIGTERM", identity))


def _exec_sent(name, signal, text, has):
    @function(f"signals/exec-{name}", has)
    def run(side):
        with side.standing() as identity:
            exec_id = side.new_id()
            client = subprocess.Popen(side.exec_command(identity, "sh", "-c", text, exec_id=exec_id), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert client.stdout.readline() == b"ready\n"
            sent = side.ctr("task", "kill", "-s", signal, "--exec-id", exec_id, identity)
            return f"kill: {side.outcome(sent)}\n{side.finish(client)}\n{side.status(identity)}"
    return run


_exec_sent("killed", "SIGKILL", LOOP, r"exit 137")
_exec_sent("terminated", "SIGTERM", LOOP, r"exit 143")
_exec_sent("caught", "SIGUSR1", f"trap 'echo caught; exit 8' USR1; {LOOP}", r"caught")
_exec_sent("interrupted", "SIGINT", LOOP, r"exit 130")
