# SPDX-License-Identifier: Apache-2.0
"""OCI hooks: on the host with the container's state on standard input, in the guest, failing, and after a kill."""
import json
import os
import subprocess
import threading

import pytest

import harness
from failures import told

RUNC = "io.containerd.runc.v2"
STUCK_SECONDS = 100_000 + os.getpid()
HOST_POINTS = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
# Notes what it is told, and the network namespaces: its own, its parent's, and that of the state's pid.
SCRIPT = """
state=$(cat)
pid=$(echo "$state" | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p')
echo "{\\"point\\": \\"$1\\", \\"state\\": $state, \\"own\\": \\"$(readlink /proc/self/ns/net)\\", \
\\"pods\\": \\"$(readlink /proc/${pid:-none}/ns/net)\\", \\"cwd\\": \\"$PWD\\", \\"env\\": \\"$MARK\\"}" >>"$2"
"""


class Hooks:
    """A document's hooks that note that they ran."""

    def __init__(self, kata, name):
        self.log = kata.directory / f"{name}.hooks"
        self.log.unlink(missing_ok=True)

    def noting(self, point):
        return {"path": "/bin/sh", "args": ["hook", "-c", SCRIPT, "hook", point, str(self.log)],
                "env": ["PATH=/usr/bin:/bin", f"MARK={point}"], "timeout": 60}

    def all(self):
        return {point: [self.noting(point)] for point in HOST_POINTS}

    def seen(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def points(self):
        return [entry["point"] for entry in self.seen()]


@pytest.fixture
def hooks(kata):
    return Hooks(kata, kata.new_id("hooks"))


def shell(script, timeout=60):
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "timeout": timeout}


def with_hooks(kata, hooks, *command):
    spec = kata.default_spec(*command)
    spec["hooks"] = hooks
    spec["annotations"] = {"org.example.words": "some \"words\""}
    return spec


def start(kata, spec, identity):
    """Detached; the result of ctr."""
    path = kata.directory / f"{identity}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    return kata.ctr("run", "--detach", "--null-io", "--runtime", kata.runtime, "--fifo-dir", kata.directory / "fifo",
                    "--config", path, identity)


def run_all(kata, runtime, hooks):
    """What the hooks of a whole life have noted, and what the one in the container and its program have said."""
    beside = kata.sibling(kata.namespace)
    beside.runtime = runtime
    found = hooks.all()
    found["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "cat >/hook-state; id -u >/hook-user; readlink "
                                                            "/proc/self/ns/net >/hook-net; echo $FROM_IMAGE >/hook-env"]}]
    spec = with_hooks(kata, found, "sh", "-c", "cat /hook-state; echo; cat /hook-user /hook-env; rm /hook-*")
    spec["process"]["env"] += ["FROM_IMAGE=yes"]
    identity = kata.new_id("hooked")
    result = beside.run_config(spec, identity)
    assert result.code == 0, f"{result.err}\n{kata.log_tail()}"
    return identity, hooks.seen(), result.out.decode().splitlines()


def test_hooks_run_as_with_runc(kata, hooks):
    identity, seen, (guest_state, *rest) = run_all(kata, kata.runtime, hooks)
    peer_identity, peers, (peer_state, *peer_rest) = run_all(kata, RUNC, Hooks(kata, "runc"))

    def comparable(entries, name):
        return [{"point": entry["point"], "env": entry["env"], "id": entry["state"]["id"] == name,
                 "status": entry["state"]["status"], "annotations": entry["state"]["annotations"],
                 "bundle": entry["state"]["bundle"].endswith(name), "version": entry["state"]["ociVersion"],
                 "has_pid": bool(entry["state"].get("pid")), "in_bundle": entry["cwd"] == entry["state"]["bundle"],
                 "pods": entry["pods"] != entry["own"]} for entry in entries]

    def guests(text, name):
        state = json.loads(text)
        return {**state, "id": state["id"] == name, "bundle": state["bundle"].endswith(name)}

    ours, theirs = comparable(seen, identity), comparable(peers, peer_identity)
    # Ours is in the pod's network alone, runc's in all of the container's namespaces.
    assert [entry["pods"] for entry in ours if entry["point"] == "createContainer"] == [False]
    for entries in (ours, theirs):
        for entry in entries:
            # runc runs it at Create, when the program does not run yet.
            if entry["point"] == "poststart":
                entry.pop("status")
            if entry["point"] == "createContainer":
                del entry["pods"], entry["in_bundle"]
    assert ours == theirs
    assert [entry["point"] for entry in ours] == list(HOST_POINTS)
    assert [entry["state"]["status"] for entry in seen if entry["point"] == "poststart"] == ["running"]
    assert guests(guest_state, identity) == guests(peer_state, peer_identity)
    assert rest == peer_rest == ["0", "yes"]


@pytest.mark.parametrize("point", ["prestart", "createRuntime", "createContainer", "poststart"])
def test_a_hook_that_fails_is_quoted_and_fails_the_call(kata, hooks, point):
    spec = with_hooks(kata, {point: [shell("echo no such device >&2; exit 3")],
                             "poststop": [hooks.noting("poststop")]}, "sleep", "1000")
    result = start(kata, spec, identity := kata.new_id())

    assert result.code != 0
    assert f'hooks.{point}[0]: hook "/bin/sh": it ended with status 3: no such device' in result.err
    told("A hook fails", result.err)
    kata.remove(identity)
    harness.wait_for(lambda: hooks.points() == ["poststop"], "the hook after the end")


def test_a_hook_in_the_guest_that_fails_is_quoted(kata):
    spec = with_hooks(kata, {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo not here; exit 4"]}]},
                      "sleep", "1000")
    result = start(kata, spec, identity := kata.new_id())

    assert result.code != 0
    assert 'hooks.startContainer[0]: hook "/bin/sh": it ended with status 4: not here' in result.err
    kata.remove(identity)


def test_a_hook_that_does_not_end_is_killed(kata):
    spec = with_hooks(kata, {"createRuntime": [shell(f"echo stuck; sleep {STUCK_SECONDS} & wait", timeout=2)]}, "true")
    result = start(kata, spec, identity := kata.new_id())

    assert result.code != 0
    assert "it did not end within its 2 s: stuck" in result.err
    assert not harness.processes("sleep", str(STUCK_SECONDS))
    kata.remove(identity)


def test_hooks_after_the_end_run_once_whoever_sees_to_it(kata, hooks):
    spec = with_hooks(kata, {"poststop": [hooks.noting("poststop")]}, "sleep", "1000")
    assert start(kata, spec, identity := kata.new_id()).code == 0
    harness.kill(kata.shim_pids(identity))

    harness.wait_for(lambda: hooks.points(), "the hook of a killed shim")
    kata.remove(identity)
    assert start(kata, spec, identity := kata.new_id()).code == 0
    kata.remove(identity)
    assert hooks.points() == ["poststop", "poststop"]


def test_a_shim_killed_in_a_hook_leaves_nothing(kata, hooks):
    mark = kata.directory / "in-hook"
    for count in (1, 2):
        mark.unlink(missing_ok=True)
        spec = with_hooks(kata, {"createRuntime": [shell(f"touch {mark}; exec sleep {STUCK_SECONDS}")],
                                 "poststop": [hooks.noting("poststop")]}, "sleep", "1000")
        identity = kata.new_id()
        client = threading.Thread(target=start, args=(kata, spec, identity))
        client.start()
        harness.wait_for(mark.exists, "the hook")
        harness.kill(kata.shim_pids(identity))
        client.join()
        kata.remove(identity)
        harness.wait_for(lambda: hooks.points() == ["poststop"] * count, "the hook after the end")
        assert not harness.processes("sleep", str(STUCK_SECONDS))


def test_a_hook_brings_the_network(kata):
    """As nerdctl and older Dockers do it: by the pid, between Create and Start."""
    pod, peer = kata.new_id("p")[-12:], "kthook0"
    attach = (f"pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); ip link add {peer} type veth peer name {pod} && "
              f"ip link set {pod} netns $pid && nsenter -t $pid -n sh -c 'ip link set {pod} name eth0 && "
              "ip addr add 10.77.5.2/24 dev eth0 && ip link set eth0 up'")
    spec = with_hooks(kata, {"createRuntime": [shell(attach)]}, "ip", "-o", "-4", "addr", "show", "dev", "eth0")
    try:
        result = kata.run_config(spec)
        assert b"10.77.5.2/24" in result.out, result
        harness.wait_for(lambda: subprocess.run(["ip", "link", "show", peer], capture_output=True,
                                                check=False).returncode != 0, "the pair to go with the pod")
    finally:
        subprocess.run(["ip", "link", "del", peer], capture_output=True, check=False)
