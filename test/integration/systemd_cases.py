# SPDX-License-Identifier: Apache-2.0
"""Run beside a systemd of the test's own, by test_host_cgroup.py: the pod's cgroup is a scope of it."""
import subprocess
import time

import pytest

import harness
from own_systemd import remove
from test_host_cgroup import hierarchies, members, processes_of


def show(unit, name):
    return subprocess.run(["systemctl", "show", "--value", "--property", name, unit], check=True, capture_output=True, text=True).stdout.strip()


def name_of(kata):
    """(container's id, linux.cgroupsPath, the scope, where that is)"""
    identity = kata.new_id()
    slice_name = f"{kata.token}-pod1.slice"
    scope = f"cri-containerd-{identity}.scope"
    return identity, f"{slice_name}:cri-containerd:{identity}", scope, f"{kata.token}.slice/{slice_name}/{scope}"


@pytest.fixture(autouse=True)
def no_slice_stays(kata):
    """The kubelet ends its slices itself, also in hierarchies of version 1 that systemd does not use."""
    yield
    subprocess.run(["systemctl", "stop", f"{kata.token}.slice"], check=True)
    for hierarchy in hierarchies():
        remove(hierarchy / f"{kata.token}.slice")


def wait_forgotten(scope):
    harness.wait_for(lambda: show(scope, "LoadState") == "not-found", f"systemd to forget {scope}")


def test_a_pod_is_a_scope_of_its_slice(kata):
    identity, name, scope, path = name_of(kata)
    with kata.container(identity=identity, flags=("--cgroup", name)):
        assert show(scope, "ActiveState") == "active"
        assert show(scope, "ControlGroup") == f"/{path}"
        assert show(scope, "Delegate") == "yes"
        for hierarchy in hierarchies():
            assert members(hierarchy / path) >= processes_of(kata, identity), hierarchy
    wait_forgotten(scope)
    for hierarchy in hierarchies():
        assert not (hierarchy / path).exists()


@pytest.mark.parametrize("whom", ["shim", "all"])
def test_a_kill_leaves_no_scope(kata, whom):
    identity, name, scope, _ = name_of(kata)
    kata.start_detached(identity, "sleep", "1000", flags=("--cgroup", name))
    harness.kill(processes_of(kata, identity) if whom == "all" else kata.shim_pids(identity))
    kata.remove(identity)
    wait_forgotten(scope)


@pytest.mark.parametrize("seconds", [0, 0.003, 0.02, 0.3])
def test_a_kill_in_the_middle_of_the_start_leaves_no_scope(kata, seconds):
    """So long after the shim is there, which asks systemd at once."""
    identity, name, scope, path = name_of(kata)
    client = subprocess.Popen(kata.command("run", "--detach", "--null-io", "--runtime", harness.RUNTIME, "--cgroup", name, kata.image,
                                           identity, "sleep", "1000"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    harness.wait_for((hierarchies()[0] / path).parent.exists, "the slice")
    time.sleep(seconds)
    harness.kill(kata.shim_pids(identity))
    client.wait(timeout=harness.COMMAND_SECONDS)
    kata.ctr("task", "rm", "--force", identity)
    kata.ctr("container", "rm", identity)
    wait_forgotten(scope)


def test_a_name_that_is_taken_is_told(kata):
    identity, name, scope, _ = name_of(kata)
    with kata.container(identity=identity, flags=("--cgroup", name)):
        result = kata.run("true", flags=("--cgroup", name))
        assert result.code == 1
        assert scope in result.err and "systemd" in result.err
        assert show(scope, "ActiveState") == "active"
