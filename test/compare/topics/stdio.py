# SPDX-License-Identifier: Apache-2.0
"""Standard input, output and errors."""
import concurrent.futures
import hashlib
import subprocess

import harness
from case import command, execute, function, own

own("stdio/both-outputs", "echo out; echo err >&2", r"^stderr: err$")
own("stdio/kinds", "probe descriptors", r"^1: pipe")
own("stdio/owners", "probe stdio-owner", r"^0: uid 0")
own("stdio/reopen", "echo a >/dev/stdout; echo b >/dev/stderr; echo c >/proc/self/fd/1", r"^c$")
own("stdio/closed-output", "exec >&- 2>&-; echo x; exit 3", r"exit 3")
own("stdio/no-newline", "printf x", r"x")
own("stdio/nothing", "true", r"exit 0")
own("stdio/from-a-child-after-exec", "(sleep 0.5; echo late) & exec sleep 1", r"late")
own("stdio/broken-pipe-inside", "yes | head -n 1; echo $?", r"^y$")
own("stdio/zero-bytes", "printf 'a\\0b' | od -c | head -n 1; printf 'a\\0b\\n'", "a")
command("stdio/descriptors-without-shell", ("probe", "descriptors"), r"^2: pipe")
execute("stdio/exec-kinds", ("probe", "descriptors"), r"^1: pipe")
execute("stdio/exec-both-outputs", "echo out; echo err >&2; exit 9", r"exit 9")


@function("stdio/input", r"^hello$")
def _input(side):
    return side.outcome(side.run("sh", "-c", "cat; echo end", stdin=b"hello\nworld"))


@function("stdio/large-input", r"^[0-9a-f]{32}  -$")
def _large_input(side):
    return side.outcome(side.run("md5sum", stdin=bytes(range(256)) * 4096))


@function("stdio/large-output", r"^8000000 ")
def _large_output(side):
    out = side.run("sh", "-c", "yes 1234567 | head -c 8000000").out
    return f"{len(out)} {hashlib.md5(out).hexdigest()}"


@function("stdio/exec-input", r"^5$")
def _exec_input(side):
    with side.standing() as identity:
        return side.outcome(side.exec(identity, "sh", "-c", "wc -c; echo end", stdin=b"hello"))


@function("stdio/exec-large-output", r"^4000000$")
def _exec_large(side):
    with side.standing() as identity:
        return str(len(side.exec(identity, "sh", "-c", "yes 1234567 | head -c 4000000").out))


@function("stdio/without-any", r"STOPPED")
def _null(side):
    identity = side.new_id()
    side.start_detached(identity, "sh", "-c", "probe descriptors >/fds; echo x; echo y >&2; exit 5")
    try:
        return side.wait_status(identity, "STOPPED")
    finally:
        side.remove(identity)


@function("stdio/null-descriptors", r"^0: ")
def _null_descriptors(side):
    with side.container("sh", "-c", "probe descriptors >/fds; exec sleep 1000") as identity:
        harness.wait_for(lambda: side.exec(identity, "test", "-s", "/fds").code == 0, "the list")
        return side.outcome(side.exec(identity, "cat", "/fds"))


@function("stdio/log-file", r"stdout")
def _log_file(side):
    path = side.directory / f"log-{side.new_id()}"
    identity = side.new_id()
    result = side.ctr("run", "--runtime", side.runtime, "--log-uri", f"file://{path}", "--detach", side.image, identity, "sh", "-c",
                      "echo to stdout; echo to stderr >&2")
    try:
        assert result.code == 0, result.err
        side.wait_status(identity, "STOPPED")
        return "\n".join(sorted(path.read_text().splitlines()))
    finally:
        side.remove(identity)
        path.unlink(missing_ok=True)


@function("stdio/client-that-goes-away", r"RUNNING")
def _gone(side):
    with side.running("sh", "-c", "echo ready; while :; do echo tick 2>/dev/null; sleep 0.1; done") as (identity, client):
        client.kill()
        client.wait()
        return f"{side.status(identity)}\n{side.outcome(side.exec(identity, 'echo', 'lives'))}"


@function("stdio/twenty-execs-at-once", r"^19$")
def _twenty(side):
    with side.standing() as identity, concurrent.futures.ThreadPoolExecutor(10) as pool:
        results = pool.map(lambda n: side.exec(identity, "sh", "-c", f"echo {n}; exit {n}"), range(20))
        return "\n".join(f"{result.out.decode().strip()}\n{result.code}" for result in results)


@function("stdio/attach", r"tick")
def _attach(side):
    with side.running("sh", "-c", "echo ready; while :; do echo tick; sleep 0.2; done") as (identity, client):
        client.kill()
        client.wait()
        second = subprocess.Popen(side.command("task", "attach", identity), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            return second.stdout.readline().decode()
        finally:
            second.kill()
            second.wait()
            second.stdout.close()
