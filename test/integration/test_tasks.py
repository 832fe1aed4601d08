# SPDX-License-Identifier: Apache-2.0
"""What an operator does with running containers."""
import os
import signal
import subprocess

import harness

MACHINES = 3
ID_SIZE_MAX = 76  # of containerd


def test_ls_shows_a_live_pid_and_the_state(kata):
    with kata.container() as identity:
        pid, status = kata.tasks()[identity]

        assert status == "RUNNING"
        assert harness.read(f"/proc/{pid}/cmdline")


def test_ps_is_not_empty(kata):
    with kata.container() as identity:
        result = kata.ctr("task", "ps", identity)

        assert result.code == 0, result.err
        assert len(result.out.decode().splitlines()) >= 2


def test_term_is_delivered_and_the_exit_code_is_the_programs(kata):
    identity = kata.new_id()
    script = 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done'
    client = subprocess.Popen(kata.run_command("sh", "-c", script, identity=identity), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"ready\n"

    assert kata.ctr("task", "kill", "-s", "SIGTERM", identity).code == 0

    assert client.wait(timeout=harness.COMMAND_SECONDS) == 9


def test_stopped_task_is_seen_and_removed(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sh", "-c", "sleep 1; exit 4")
    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")

    result = kata.ctr("task", "rm", identity)

    assert "exit code 4" in result.err
    assert identity not in kata.tasks()
    kata.remove(identity)


def test_running_task_is_not_removed_without_force(kata):
    with kata.container() as identity:
        assert kata.ctr("task", "rm", identity).code != 0
        assert kata.tasks()[identity][1] == "RUNNING"


def test_kill_of_a_stopped_task_says_so(kata):
    with kata.container("true") as identity:
        harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")

        assert kata.ctr("task", "kill", "-s", "SIGKILL", identity).code != 0


def test_same_id_in_two_namespaces(kata):
    """An id is unique within a namespace only: neither the end nor the crash of one touches the other."""
    other = kata.sibling("other")
    with kata.container() as identity:
        for end in (lambda: None, lambda: os.kill(other.shim_pids("-namespace other")[0], signal.SIGKILL)):
            with other.container(identity=identity):
                assert other.exec(identity, "hostname").code == 0
                end()
            assert kata.exec(identity, "echo", "alive").out == b"alive\n"
            assert len(kata.qemu_pids(identity)) == 1


def test_longest_id(kata):
    identity = kata.new_id().ljust(ID_SIZE_MAX, "x")

    assert kata.run("echo", "long", identity=identity).out == b"long\n"


def test_several_containers_each_in_a_machine_of_its_own(kata):
    identities = [kata.new_id() for _ in range(MACHINES)]
    clients = [subprocess.Popen(kata.run_command("sh", "-c", "cat /proc/sys/kernel/random/boot_id; read x",
                                                 identity=identity), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for identity in identities]

    boots = {client.stdout.readline() for client in clients}
    machines = {pid for identity in identities for pid in kata.qemu_pids(identity)}
    for client in clients:
        client.stdin.close()

    assert len(boots) == MACHINES
    assert len(machines) == MACHINES
    assert [client.wait(timeout=harness.COMMAND_SECONDS) for client in clients] == [1] * MACHINES
