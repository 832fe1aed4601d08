# SPDX-License-Identifier: Apache-2.0
"""Starts that fail: the client's code, the cause, and what the message names. Nothing may stay behind."""
from case import function


def _start(name, words, *named, flags=(), edit=None, has=r"exit 1"):
    @function(f"failures/{name}", has)
    def run(side):
        if edit is None:
            identity = side.new_id()
            result = side.run(*words, flags=flags, identity=identity)
        else:
            with side.edited(edit, words, flags) as (identity, arguments):
                result = side.ctr("run", "--rm", "--runtime", side.runtime, "--fifo-dir", side.directory / "fifo", *arguments)
        left = [status for task, (_, status) in side.tasks().items() if task == identity]
        # ctr itself forgets the container of a start that failed, with any runtime.
        side.ctr("container", "rm", identity)
        return f"{side.failure(result, *named)}\ntasks left {len(left)}"
    return run


def _mount(**words):
    return lambda spec: spec["mounts"].append(words)


_start("missing-program", ("/none-such",), "/none-such")
_start("missing-in-path", ("none-such",), "none-such")
_start("not-executable", ("/etc/passwd",), "/etc/passwd")
_start("directory", ("/etc",), "/etc")
_start("not-a-program", ("/etc/compare-image",), "/etc/compare-image")
_start("program-below-a-file", ("/etc/passwd/x",), "/etc/passwd/x")
_start("empty-program", ("",))
_start("directory-is-a-file", ("true",), "/etc/passwd", flags=("--cwd", "/etc/passwd"))
_start("missing-bind-source", ("true",), "/none-such", flags=("--mount", "type=bind,src=/none-such,dst=/m,options=rbind"))
_start("file-over-directory", ("true",), flags=("--mount", "type=bind,src=/etc/passwd,dst=/etc,options=rbind"))
_start("directory-over-file", ("true",), flags=("--mount", "type=bind,src=/etc,dst=/etc/passwd,options=rbind"))
_start("unknown-file-system", ("true",), edit=_mount(destination="/m", type="nonesuchfs", source="x"))
_start("bad-tmpfs-option", ("true",), edit=_mount(destination="/m", type="tmpfs", source="x", options=["size=words"]))
_start("relative-destination", ("true",), edit=_mount(destination="m", type="tmpfs", source="x"), has=r"exit")
_start("unknown-capability", ("true",), flags=("--cap-add", "CAP_NONE_SUCH"), has=r"exit")
_start("unknown-rlimit", ("true",), edit=lambda spec: spec["process"].update(rlimits=[{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}]))
_start("soft-above-hard", ("true",), edit=lambda spec: spec["process"].update(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 1}]))
_start("unknown-namespace", ("true",), edit=lambda spec: spec["linux"]["namespaces"].append({"type": "none-such"}))
_start("sysctl-of-the-host", ("true",), "kernel.panic", edit=lambda spec: spec["linux"].update(sysctl={"kernel.panic": "1"}))
_start("unknown-sysctl", ("true",), edit=lambda spec: spec["linux"].update(sysctl={"net.none.such": "1"}))
_start("oom-score-adj-too-high", ("true",), edit=lambda spec: spec["process"].update(oomScoreAdj=5000))
_start("environment-without-equals", ("true",), "WORD", edit=lambda spec: spec["process"].update(env=["PATH=/bin", "WORD"]))
_start("no-arguments", ("true",), edit=lambda spec: spec["process"].update(args=[]))
_start("relative-cwd", ("true",), edit=lambda spec: spec["process"].update(cwd="tmp"))
_start("missing-root", ("true",), "/none-such-root", edit=lambda spec: spec["root"].update(path="/none-such-root"))
_start("unknown-seccomp-action", ("true",), edit=lambda spec: spec["linux"].update(seccomp={"defaultAction": "SCMP_ACT_NONE"}))
_start("unknown-seccomp-call-is-passed-over", ("true",), has=r"exit 0", edit=lambda spec: spec["linux"].update(
    seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["none_such_call"], "action": "SCMP_ACT_ERRNO"}]}))
_start("bad-device-type", ("true",), edit=lambda spec: spec["linux"].setdefault("devices", []).append(
    {"path": "/dev/x", "type": "q", "major": 1, "minor": 3}))
_start("hostname-without-namespace", ("true",), edit=lambda spec: (spec.update(hostname="x"), spec["linux"].update(
    namespaces=[entry for entry in spec["linux"]["namespaces"] if entry["type"] != "uts"])))


@function("failures/same-id-twice", r"already exists")
def _twice(side):
    with side.container() as identity:
        return side.failure(side.run("true", identity=identity))


@function("failures/bad-id", r"exit 1")
def _bad_id(side):
    return side.failure(side.run("true", identity=f"no/such {side.letter}"))


@function("failures/good-start-afterwards", r"^works$")
def _afterwards(side):
    side_result = side.run("/none-such")
    return f"{side_result.code}\n{side.outcome(side.run('echo', 'works'))}"
