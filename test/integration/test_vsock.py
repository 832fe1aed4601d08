# SPDX-License-Identifier: Apache-2.0
"""The agent behind a vsock, as test/matrix/run-vsock sets it up. All other tests run over it there as well."""
import os
import signal

import pytest

import harness

pytestmark = pytest.mark.skipif("KATA_TEST_VSOCK" not in os.environ, reason="run by test/matrix/run-vsock")


def daemons(kata, identity):
    qemu = kata.qemu_pids(identity)
    assert len(qemu) == 1
    owner = os.stat(f"/proc/{qemu[0]}").st_uid
    return [pid for pid in harness.processes("vhost-device-vsock") if os.stat(f"/proc/{pid}").st_uid == owner]


def test_machine_has_a_vsock_and_no_port(kata):
    result = kata.run("sh", "-c", "cat /proc/cmdline; ls /sys/class/virtio-ports | wc -l")

    assert result.code == 0, result.err
    line, ports = result.out.decode().strip().split("\n")
    assert "agent.vsock_port=1024" in line.split()
    assert ports == "0"


def test_daemon_runs_as_the_machines_user_and_ends_with_it(kata):
    with kata.container() as identity:
        pids = daemons(kata, identity)
        assert len(pids) == 1

    harness.wait_for(lambda: not os.path.exists(f"/proc/{pids[0]}"), "the daemon to end")


def test_killed_daemon_ends_the_container(kata):
    with kata.container() as identity:
        os.kill(daemons(kata, identity)[0], signal.SIGKILL)

        harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")
        assert not kata.qemu_pids(identity)
