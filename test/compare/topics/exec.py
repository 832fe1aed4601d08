# SPDX-License-Identifier: Apache-2.0
"""More processes in a running container."""
import subprocess

import harness
from case import execute, function

execute("exec/exit-code", "exit 33", r"exit 33")
execute("exec/killed", "kill -KILL $$", r"exit 137")
execute("exec/segfault", "kill -SEGV $$", r"exit 139")
execute("exec/parent", "cut -d' ' -f4 /proc/self/stat | grep -c . ; awk '/^PPid/ {print $2}' /proc/$$/status", r"^0$")
execute("exec/session", ("probe", "session"), r"leads its session: yes")
execute("exec/settings", ("probe", "prctl"), r"no new privileges: ok 1")
execute("exec/scheduling", ("probe", "scheduling"), r"policy: 0")
execute("exec/limits", "probe rlimits | grep -vE '^(nproc|sigpending|memlock|msgqueue|nofile)'", r"core: ")
execute("exec/capabilities", ("probe", "capabilities"), r"CapEff:\s0+a80425fb")
execute("exec/privileged-capabilities", "probe capabilities | grep -E 'Inh|Amb|NoNew'", r"CapInh", flags=("--privileged",))
execute("exec/keyring", "probe keyring | grep session", r"session keyring: ok")
execute("exec/cgroup", "test \"$(cat /proc/1/cgroup)\" = \"$(cat /proc/self/cgroup)\" && echo same", r"same")
execute("exec/umask", "umask", r"^0022$")
execute("exec/root-and-directory", "readlink /proc/self/root; readlink /proc/self/cwd; pwd", r"^/$")
execute("exec/bytes-in-arguments", ("printf", "%s", "a  b\n\"'$HOME"), r"HOME")
execute("exec/background-child-keeps-no-client", "sleep 30 >/dev/null 2>&1 & echo started", r"started")
execute("exec/settings-with-new-privileges", "grep -E 'NoNewPrivs' /proc/self/status", r"NoNewPrivs:\s0", flags=("--allow-new-privs",))
execute("exec/read-only-root", "touch /x", r"Read-only", flags=("--read-only",))


def _fails(name, words, *named, flags=()):
    @function(f"exec/{name}", r"exit 1")
    def run(side):
        with side.standing() as identity:
            return f"{side.failure(side.exec(identity, *words, flags=flags), *named)}\n{side.status(identity)}"
    return run


_fails("missing-program", ("/bin/none-such",), "/bin/none-such")
_fails("missing-in-path", ("none-such",), "none-such")
_fails("directory-as-program", ("/etc",), "/etc")
_fails("not-executable", ("/etc/passwd",), "/etc/passwd")
_fails("missing-directory", ("pwd",), "/none-such", flags=("--cwd", "/none-such"))
_fails("directory-is-a-file", ("pwd",), "/etc/passwd", flags=("--cwd", "/etc/passwd"))


@function("exec/unknown-user", r"exit 1")
def _unknown_user(side):
    with side.standing() as identity:
        return side.failure(side.exec(identity, "id", flags=("--user", "nobody-knows")), "nobody-knows")


@function("exec/same-id-twice", r"exit 1")
def _twice(side):
    with side.container() as identity:
        exec_id = side.new_id()
        first = side.ctr("task", "exec", "--detach", "--exec-id", exec_id, identity, "sleep", "1000")
        second = side.exec(identity, "true", exec_id=exec_id)
        return f"{side.outcome(first)}\n{side.failure(second)}"


@function("exec/same-id-again-later", r"exit 0")
def _later(side):
    with side.standing() as identity:
        exec_id = side.new_id()
        return "\n".join(side.outcome(side.exec(identity, "true", exec_id=exec_id)) for _ in range(2))


@function("exec/in-a-stopped-task", r"exit 1")
def _stopped(side):
    with side.container("true") as identity:
        side.wait_status(identity, "STOPPED")
        return side.failure(side.exec(identity, "true"))


@function("exec/in-a-missing-container", r"exit 1")
def _missing(side):
    return side.failure(side.exec("no-such-container", "true"))


@function("exec/sees-changes-of-init", r"^made$")
def _changes(side):
    with side.container("sh", "-c", "echo made >/tmp/made; exec sleep 1000") as identity:
        harness.wait_for(lambda: side.exec(identity, "test", "-s", "/tmp/made").code == 0, "the file")
        return side.outcome(side.exec(identity, "cat", "/tmp/made"))


@function("exec/ends-with-init", r"exit 137")
def _ends(side):
    with side.running("sh", "-c", "echo ready; while :; do sleep 0.1; done") as (identity, client):
        exec_id = side.new_id()
        other = subprocess.Popen(side.exec_command(identity, "sh", "-c", "echo ready; exec sleep 1000", exec_id=exec_id),
                                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert other.stdout.readline() == b"ready\n"
        side.ctr("task", "kill", "-s", "SIGKILL", identity)
        return f"{side.finish(other)}\n{side.finish(client)}"


@function("exec/counts", r"^\d+$")
def _counts(side):
    """Each exec leaves the number of processes as it was."""
    with side.container() as identity:
        for _ in range(3):
            side.exec(identity, "true")
        return side.exec(identity, "sh", "-c", "ls -d /proc/[0-9]* | wc -l").out.decode()


