# SPDX-License-Identifier: Apache-2.0
"""What happens when one of the processes dies."""
import os
import shutil
import signal
import subprocess

import pytest

import harness


def start_client(kata, identity):
    """A `ctr run` in the foreground whose container runs."""
    client = subprocess.Popen(kata.run_command("sh", "-c", "echo ready; exec sleep 1000", identity=identity),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert client.stdout.readline() == b"ready\n"
    return client


def test_killed_machine_ends_the_container_with_137(kata):
    identity = kata.new_id()
    client = start_client(kata, identity)

    harness.kill(kata.qemu_pids(identity))

    assert client.wait(timeout=harness.COMMAND_SECONDS) == 137


def test_killed_machine_is_seen_as_stopped_and_can_be_removed(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")

    harness.kill(kata.qemu_pids(identity))

    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to be seen as stopped")
    assert kata.exec(identity, "true").code != 0
    kata.remove(identity)


def test_killed_shim_leaves_nothing(kata):
    identity = kata.new_id()
    client = start_client(kata, identity)
    pids = kata.shim_pids(identity)
    assert pids

    harness.kill(pids)

    client.wait(timeout=harness.COMMAND_SECONDS)
    harness.wait_for(lambda: identity not in kata.tasks(), "containerd to forget the task")
    kata.remove(identity)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_containerd_restarted_while_a_container_runs(kata, how):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    shims = kata.shim_pids(identity)

    kata.stop(how)
    kata.start()

    assert kata.shim_pids(identity) == shims
    assert kata.tasks()[identity][1] == "RUNNING"
    assert kata.exec(identity, "echo", "still here").out == b"still here\n"
    assert kata.ctr("task", "kill", "-s", "SIGKILL", identity).code == 0
    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")
    kata.remove(identity)


def test_container_that_ends_while_containerd_is_away(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sh", "-c", "sleep 3; exit 6")
    machine = kata.qemu_pids(identity)

    kata.stop()
    assert machine
    kata.start()

    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")
    assert "exit code 6" in kata.ctr("task", "rm", identity).err
    kata.remove(identity)


def test_client_that_goes_away_leaves_the_container(kata):
    identity = kata.new_id()
    client = start_client(kata, identity)

    client.kill()
    client.wait()

    assert kata.tasks()[identity][1] == "RUNNING"
    kata.remove(identity)


def test_shim_that_nobody_knows_ends_with_its_bundle(kata):
    """As after a `start` that was killed before its answer: containerd removes the bundle and never comes back."""
    identity = kata.new_id()
    bundle = kata.directory / "forgotten" / identity
    bundle.mkdir(parents=True)
    (bundle / "config.json").write_text('{"process": {"args": ["true"]}, "root": {"path": "rootfs"}}', encoding="utf-8")
    started = subprocess.run(
        [kata.prefix / "bin/containerd-shim-kata-v2", "-namespace", "default", "-address", kata.address,
         "-id", identity, "start"], cwd=bundle, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    socket_path = started.stdout.decode().removeprefix("unix://")
    assert os.path.exists(socket_path) and kata.shim_pids(identity)

    shutil.rmtree(bundle)

    harness.wait_for(lambda: not kata.shim_pids(identity), "the shim to end")
    assert not os.path.exists(socket_path)
