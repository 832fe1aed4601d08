# SPDX-License-Identifier: Apache-2.0
"""What a pod bears at its edges: a large file, many containers, calls that cross each other and its machine's end.

KATA_POD_CONTAINERS=64 is the full size.
"""
import contextlib
import hashlib
import json
import os
import time

import pytest

import harness
from test_fault_machine import in_background
from test_neighbours import annotations
from test_sandbox_api import ALREADY_EXISTS, pod_of
from ttrpc_client import CallError

CONTAINERS = int(os.environ.get("KATA_POD_CONTAINERS", "12"))
ENDED_STATUS = 137


def test_a_large_resolv_conf(kata):
    data = b"".join(b"# line %07d of many\n" % i for i in range(1 << 20))[:1 << 20]
    path = kata.directory / "resolv.conf"
    path.write_bytes(data)
    try:
        result = kata.run("sha256sum", "/etc/resolv.conf",
                          flags=("--mount", f"type=bind,src={path},dst=/etc/resolv.conf,options=rbind:ro"))
    finally:
        path.unlink()

    assert result.out.split()[:1] == [hashlib.sha256(data).hexdigest().encode()], result


def test_a_pod_of_many_containers(kata):
    """Each has its own files and its own exit status, and all of them run at once."""
    pod = kata.new_id("pod")
    flags = annotations("container", pod)
    identities = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(kata.container("/pause", identity=pod, flags=annotations("sandbox", pod)))
        began = time.monotonic()
        for number in range(CONTAINERS):
            identities.append(stack.enter_context(kata.container("sh", "-c", f"echo {number} >/mine; exec sleep 1000",
                                                                 flags=flags)))
        print(f"{CONTAINERS} containers: {(time.monotonic() - began) / CONTAINERS:.2f} s each")
        assert all(kata.tasks()[identity][1] == "RUNNING" for identity in identities)
        for number, identity in enumerate(identities):
            assert kata.exec(identity, "cat", "/mine").out == b"%d\n" % number


def made(pod, identity, shim_call):
    """A bundle's Create: OK, or the code of its error."""
    try:
        pod.shim.finish(shim_call, harness.COMMAND_SECONDS)
    except CallError as error:
        return error.code, str(error)
    return 0, identity


def test_two_creates_of_one_id_at_once(kata):
    with pod_of(kata) as pod:
        pod.create()
        pod.start()
        identity = kata.new_id("twin")
        bundle = pod.make_bundle(identity)
        (bundle / "config.json").write_text(json.dumps(pod.spec(("sh", "-c", "exit 7"))), encoding="utf-8")
        request = {1: identity, 2: str(bundle), 6: f"file://{bundle}/out"}
        calls = [pod.shim.begin("Create", request) for _ in range(2)]
        answers = sorted(made(pod, identity, call) for call in calls)

        assert [code for code, _ in answers] == [0, ALREADY_EXISTS], answers
        assert identity in answers[1][1]
        waiting = pod.shim.begin("Wait", {1: identity})
        pod.shim.call("Start", {1: identity})
        assert pod.shim.finish(waiting, harness.COMMAND_SECONDS)[1] == 7
        pod.shim.call("Delete", {1: identity})
        # And once more, one after the other.
        pod.shim.call("Create", request)
        pod.shim.call("Delete", {1: identity})


@pytest.mark.parametrize("seconds", [0, 0.03, 0.06, 0.09, 0.3])
def test_a_machine_that_is_killed_during_a_second_create(kata, seconds):
    """The Create fails or its container has ended; the first has ended; both are removed as ever."""
    pod, second = kata.new_id("pod"), kata.new_id("second")
    kata.start_detached(pod, "sleep", "1000", flags=annotations("sandbox", pod))
    machine = kata.qemu_pids(pod)
    client = in_background(lambda: kata.run("sleep", "1000", flags=annotations("container", pod), identity=second))
    harness.wait_for(lambda: (kata.bundle(second) / "config.json").exists(), "the second container's bundle")
    time.sleep(seconds)  # somewhere in its work
    harness.kill(machine)

    result = client()
    print(f"after {seconds} s: {result.code}, {result.err}")
    ended = (f'sandbox "{pod}', f'"{second}": the virtual machine has ended', f'"{second}": it has ended already')
    assert result.code == ENDED_STATUS or any(words in result.err for words in ended), result
    harness.wait_for(lambda: kata.tasks()[pod][1] == "STOPPED", "the first container to end")
    kata.remove(second)
    kata.remove(pod)
