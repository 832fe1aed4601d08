# SPDX-License-Identifier: Apache-2.0
"""Terminals as a user at a console meets them."""
import time

import harness
from case import command, execute, function

# Without the colours and moves that shells print.
QUIET = ("sh", "-c")
# ctr tells the size only when the program runs.
SIZED = "until stty size 2>/dev/null | grep -q [1-9]; do sleep 0.05; done; "

command("terminals/none", ("probe", "terminal"), r"terminal 0: no")
command("terminals/none-session", ("probe", "session"), r"/dev/tty: ENXIO")
command("terminals/none-tty-command", ("tty",), r"not a tty")


def _facts(name, words, has, **more):
    @function(name, has)
    def run(side):
        return side.on_terminal((), *words, **more)
    return run


_facts("terminals/settings", (*QUIET, SIZED + "probe terminal; sleep 1"), r"terminal 0: yes", rows=31, columns=97)
_facts("terminals/session", ("probe", "session"), r"is in front: yes")
_facts("terminals/descriptors", ("probe", "descriptors"), r"^2: character device")
_facts("terminals/console-device", (*QUIET, "tty; ls -l /dev/console | cut -c1-10; test -e /dev/console && echo there"), r"there")
_facts("terminals/environment", (*QUIET, "env | grep -E '^(TERM|HOME|PATH)='; true"), r"TERM=")
_facts("terminals/newlines-are-translated", (*QUIET, "printf 'a\\nb\\n' | od -c | head -n 1; printf 'x\\n'"), r"a")
_facts("terminals/exit-code", (*QUIET, "exit 42"), r"exit 42")
_facts("terminals/both-outputs-are-one", (*QUIET, "echo out; echo err >&2"), r"^err$")
_facts("terminals/devpts", (*QUIET, "ls /dev/pts; ls -l /dev/ptmx /dev/tty | cut -c1-10"), r"ptmx")
_facts("terminals/mounts", (*QUIET, "awk '$2 ~ \"console|pts\" {print $2, $3}' /proc/mounts"), r"/dev/pts devpts")


@function("terminals/size", r"^31 97")
def _size(side):
    return side.on_terminal((), *QUIET, "until size=$(stty size 2>/dev/null | grep [1-9]); do sleep 0.05; done; echo $size; sleep 1", rows=31, columns=97)


@function("terminals/resize", r"50 120")
def _resize(side):
    return side.on_terminal(("ready", lambda terminal: terminal.resize(50, 120)), *QUIET,
                            SIZED + "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.1; done")


@function("terminals/echo", r"typed")
def _echo(side):
    return side.on_terminal(("ready", ("typed\n",)), *QUIET, "echo ready; read word; echo got $word")


@function("terminals/interrupt", r"exit 130|interrupted")
def _interrupt(side):
    return side.on_terminal(("ready", ("\x03",)), *QUIET, "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done")


@function("terminals/quit", r"quit")
def _quit(side):
    return side.on_terminal(("ready", ("\x1c",)), *QUIET, "trap 'echo quit; exit 6' QUIT; echo ready; while :; do :; done")  # a child would quit too


@function("terminals/end-of-file", r"read 1")
def _end(side):
    return side.on_terminal(("ready", ("\x04",)), *QUIET, "echo ready; read word; echo read $?")


def _until_it_sleeps(_):
    time.sleep(1.5)  # nobody tells when a shell has given its terminal away


@function("terminals/job-control", r"exit 7")
def _jobs(side):
    return side.on_terminal(("# ", ("sleep 1000\n",), "sleep 1000", _until_it_sleeps, ("\x1a",), "Stopped",
                             ("bg; kill %1; wait; echo en''d; exit 7\n",), "end"), "sh", "-i")


@function("terminals/raw-mode", r"got x")
def _raw(side):
    return side.on_terminal(("ready", ("x",)), *QUIET, "stty raw -echo; echo ready; c=$(dd bs=1 count=1 2>/dev/null); stty sane; echo got $c")


@function("terminals/backspace", r"got ac")
def _backspace(side):
    return side.on_terminal(("ready", ("ab\x7fc\n",)), *QUIET, "stty -echo; echo ready; read word; echo got $word")


@function("terminals/large-output", r"^END")
def _large(side):
    text = side.on_terminal((), *QUIET, "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; echo END; sleep 1")
    lines = text.splitlines()
    return "\n".join((str(len(lines)), *lines[-2:]))


@function("terminals/hang-up-ends-the-container", r"exit")
def _after(side):
    return side.on_terminal(("ready",), *QUIET, "echo ready; (trap '' HUP; sleep 0.3; echo late) & exit 3")


@function("terminals/exec", r"terminal 0: yes")
def _exec(side):
    with side.standing() as identity:
        return side.exec_on_terminal(identity, (), *QUIET, SIZED + "exec probe terminal", rows=20, columns=70)


@function("terminals/exec-session", r"is in front: yes")
def _exec_session(side):
    with side.standing() as identity:
        return side.exec_on_terminal(identity, (), *QUIET, SIZED + "exec probe session")


@function("terminals/exec-interrupt", r"interrupted")
def _exec_interrupt(side):
    with side.standing() as identity:
        return side.exec_on_terminal(identity, ("ready", ("\x03",)), *QUIET,
                                     "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done")


@function("terminals/exec-name", r"/dev/pts/0")
def _exec_names(side):
    with side.container() as identity:
        return side.exec_on_terminal(identity, (), *QUIET, SIZED + "tty; ls /dev/pts")


@function("terminals/as-user", r"owner: 1000")
def _as_user(side):
    with side.container() as identity:
        terminal = harness.Terminal(side.exec_command(identity, *QUIET, SIZED + "probe terminal; echo x >/dev/tty && echo may write", flags=("--tty", "--user", "1000")))
        rest, code = terminal.drain()
        return f"{side.clean(rest)}\nexit {code}"


execute("terminals/exec-none", ("probe", "session"), r"/dev/tty: ENXIO")
