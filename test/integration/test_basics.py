# SPDX-License-Identifier: Apache-2.0
"""The main job: a container in its own machine, its output and its exit code."""
import os
import signal
import subprocess

import pytest

import harness


def test_runs_on_another_kernel_than_the_host(kata):
    result = kata.run("uname", "-r")

    assert result.code == 0, result.err
    assert result.out.decode().strip().endswith("-guest")
    assert result.out.decode().strip() != os.uname().release


@pytest.mark.parametrize("code", [0, 1, 42])
def test_exit_code_reaches_the_client(kata, code):
    assert kata.run("sh", "-c", f"exit {code}").code == code


def test_killed_container_exits_with_137(kata):
    identity = kata.new_id()
    client = subprocess.Popen(kata.run_command("sleep", "1000", identity=identity), stdin=subprocess.DEVNULL)
    harness.wait_for(lambda: kata.tasks().get(identity, (0, ""))[1] == "RUNNING", "the container to run")

    assert kata.ctr("task", "kill", "-s", "SIGKILL", identity).code == 0

    assert client.wait(timeout=harness.COMMAND_SECONDS) == 128 + signal.SIGKILL


def test_missing_binary_is_named_in_the_error(kata):
    result = kata.run("/bin/there-is-no-such-program")

    assert result.code != 0
    assert "/bin/there-is-no-such-program" in result.err
    assert "no such file or directory" in result.err.lower()


def test_hostname_environment_and_arguments_arrive(kata):
    result = kata.run("sh", "-c", 'printf "%s|%s|%s" "$WORD" "$1" "$(pwd)"', "sh", "a b",
                      flags=("--env", "WORD=x=y z", "--cwd", "/tmp"))

    assert result.out == b"x=y z|a b|/tmp"


def test_own_namespaces_hide_the_agent(kata):
    result = kata.run("sh", "-c", "echo $$; ls -d /proc/[0-9]*")

    assert result.out == b"1\n/proc/1\n"


def test_default_devices_and_mounts(kata):
    script = "for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; " \
             "test -d /dev/pts && test -d /dev/shm && test -d /sys/kernel && " \
             "echo x >/dev/null && ls -l /dev/fd /dev/stdout >/dev/null && echo good"
    result = kata.run("sh", "-c", script)

    assert result.out == b"good\n", result.err


def test_each_pod_keeps_its_time_line(kata):
    with kata.container() as identity:
        [kept] = harness.KATA_RUN.glob(f"{identity}-*/timeline")
        assert kept.stat().st_mode & 0o777 == 0o600
        drawn = subprocess.run([harness.REPOSITORY / "tools/timeline", kept], stdout=subprocess.PIPE, text=True, check=True).stdout

    steps = ("shim started", "virtual machine started", "agent ready", "container created", "container started")
    assert [step for step in steps if step not in drawn] == [], drawn
