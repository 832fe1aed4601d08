# SPDX-License-Identifier: Apache-2.0
"""More processes in a running container."""
import concurrent.futures
import subprocess

import pytest

import harness
from failures import told

AT_ONCE = 20


@pytest.fixture
def identity(kata):
    with kata.container("sleep", "1000", flags=("--env", "WORD=from the container")) as name:
        yield name


def start_exec(kata, identity, exec_id):
    """A client with an exec that runs."""
    command = kata.exec_command(identity, "sh", "-c", "echo ready; exec sleep 2000", exec_id=exec_id)
    client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"ready\n"
    return client


def test_exec_runs_beside_init(kata, identity):
    result = kata.exec(identity, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; exit 3")

    assert result.out == b"sleep 1000 "
    assert result.code == 3


def test_exec_as_another_user(kata, identity):
    result = kata.exec(identity, "sh", "-c", "id -u; id -g", flags=("--user", "1000:1000"))

    assert result.out.split() == [b"1000", b"1000"]


def test_exec_has_environment_and_directory(kata, identity):
    result = kata.exec(identity, "sh", "-c", 'pwd; echo "$WORD"', flags=("--cwd", "/tmp"))

    assert result.out == b"/tmp\nfrom the container\n"


def test_exec_in_a_directory_that_is_not_there(kata, identity):
    result = kata.exec(identity, "pwd", flags=("--cwd", "/there-is-no-such-directory"))

    assert result.code != 0
    assert "/there-is-no-such-directory" in result.err
    told("The directory of an exec is not there", result.err)


def test_exec_reads_stdin(kata, identity):
    assert kata.exec(identity, "sh", "-c", "cat; echo end", stdin=b"hello\n").out == b"hello\nend\n"


def test_exec_on_a_terminal(kata, identity):
    terminal = harness.Terminal(kata.exec_command(identity, "sh", flags=("--tty",)), rows=30, columns=90)
    terminal.expect("# ")

    terminal.send("stty size; exit 5\n")
    terminal.expect("30 90")

    assert terminal.close() == 5


def test_twenty_at_once(kata, identity):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda n: kata.exec(identity, "sh", "-c", f"sleep 1; echo {n}; exit {n}"),
                                range(AT_ONCE)))

    assert [(r.code, r.out) for r in results] == [(n, b"%d\n" % n) for n in range(AT_ONCE)]


def test_kill_of_an_exec_leaves_the_container(kata, identity):
    exec_id = kata.new_id("x")
    client = start_exec(kata, identity, exec_id)

    assert kata.ctr("task", "kill", "-s", "SIGKILL", "--exec-id", exec_id, identity).code == 0

    assert client.wait(timeout=harness.COMMAND_SECONDS) == 137
    assert kata.tasks()[identity][1] == "RUNNING"


def test_exec_of_a_missing_binary_names_it(kata, identity):
    result = kata.exec(identity, "/bin/there-is-no-such-program")

    assert result.code != 0
    assert "/bin/there-is-no-such-program" in result.err
    told("The program is not in the image", result.err)
    assert kata.exec(identity, "true").code == 0


def test_end_of_init_ends_the_execs(kata, identity):
    client = start_exec(kata, identity, kata.new_id("x"))

    assert kata.ctr("task", "kill", "-s", "SIGKILL", identity).code == 0

    assert client.wait(timeout=harness.COMMAND_SECONDS) == 137
