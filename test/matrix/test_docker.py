# SPDX-License-Identifier: Apache-2.0
"""Docker 26 and later with our runtime: what a user of `docker run` does."""
import json
import os
import signal
import subprocess

import pytest

import harness
from docker_harness import SHORT_NAME, SHORT_NAME_MEMORY
from test_disks import loop_device

MISSING = "/bin/there-is-no-such-program"
MIB = 1 << 20
# Ends with 137 where less than 64 MiB may be used; dd needs that much for its buffer.
USE_64_MIB = "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo code $?"


def wait_for_logs(docker, identity, text):
    harness.wait_for(lambda: text in docker.docker("logs", identity).out, f"{text!r} in the log")


# --- run ---

def test_runs_on_another_kernel_than_the_host(docker):
    result = docker.run("uname", "-r")

    assert result.code == 0, result.err
    assert result.out.decode().strip().endswith("-guest")
    assert result.out.decode().strip() != os.uname().release


def test_short_name_of_the_documents_has_its_configuration(docker):
    result = docker.run("awk", "/MemTotal/ {print int($2 / 1024)}", "/proc/meminfo", flags=("--runtime", SHORT_NAME))

    assert result.code == 0, result.err
    assert SHORT_NAME_MEMORY - 100 < int(result.out) < SHORT_NAME_MEMORY


@pytest.mark.parametrize("code", [0, 1, 42])
def test_exit_code_reaches_the_client(docker, code):
    assert docker.run("sh", "-c", f"exit {code}").code == code


def test_missing_binary_is_127_and_named(docker):
    result = docker.run(MISSING)

    assert result.code == 127, result.err
    assert MISSING in result.err
    assert "no such file or directory" in result.err


def test_stdin_from_a_pipe_ends_with_eof(docker):
    text = b"one\ntwo\nthree\n" * 1000

    assert docker.run("sh", "-c", "cat; echo end", stdin=text).out == text + b"end\n"


def test_stderr_is_apart_from_stdout(docker):
    result = docker.run("sh", "-c", "echo out; echo err >&2; echo out2")

    assert result.out == b"out\nout2\n"
    assert result.err == "err\n"


def test_environment_user_directory_and_hostname_arrive(docker):
    result = docker.run("sh", "-c", 'echo "$WORD|$(id -u):$(id -g)|$(pwd)|$(hostname)"',
                        flags=("--env", "WORD=a b", "--user", "1000:1000", "--workdir", "/tmp", "--hostname", "name"))

    assert result.out == b"a b|1000:1000|/tmp|name\n", result.err


def test_terminal_has_size_and_passes_input(docker):
    terminal = harness.Terminal(docker.run_command("sh", flags=("--rm", "-i", "-t")), rows=33, columns=99)
    terminal.expect("# ")

    terminal.send("test -t 0 && test -t 1 && while [ \"$(stty size)\" != '33 99' ]; do sleep 0.1; done; echo fi''rst\n")
    terminal.expect("first")
    terminal.resize(50, 120)
    terminal.send("while [ \"$(stty size)\" != '50 120' ]; do sleep 0.1; done; echo resi''zed; exit 7\n")
    terminal.expect("resized")

    assert terminal.close() == 7


def test_network_none_has_only_loopback(docker):
    assert docker.run("ls", "/sys/class/net").out.split() == [b"lo"]


def test_bind_mount_is_shared_both_ways(docker, tmp_path):
    (tmp_path / "in").write_text("from the host\n", encoding="utf-8")

    result = docker.run("sh", "-c", "cat /data/in; echo from the guest >/data/out", flags=("-v", f"{tmp_path}:/data"))

    assert result.out == b"from the host\n", result.err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "from the guest\n"


def test_read_only_bind_mount_refuses_a_write(docker, tmp_path):
    result = docker.run("touch", "/data/out", flags=("-v", f"{tmp_path}:/data:ro"))

    assert result.code != 0
    assert "Read-only file system" in result.err


def test_tmpfs_and_read_only_root(docker):
    result = docker.run("sh", "-c", "touch /scratch/file && ! touch /file && echo good",
                        flags=("--read-only", "--tmpfs", "/scratch"))

    assert result.out == b"good\n", result.err


def test_hosts_file_names_the_container(docker):
    result = docker.run("cat", "/etc/hosts", flags=("--add-host", "a-host:192.0.2.7"))

    assert b"192.0.2.7\ta-host" in result.out, result.err


# --- a running container ---

def test_exec_output_and_exit_code(docker):
    with docker.container() as identity:
        result = docker.exec(identity, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; exit 3")

        assert result.out == b"sleep 1000 ", result.err
        assert result.code == 3


def test_exec_reads_stdin(docker):
    with docker.container() as identity:
        assert docker.exec(identity, "sh", "-c", "cat; echo end", flags=("-i",), stdin=b"hi\n").out == b"hi\nend\n"


def test_exec_on_a_terminal(docker):
    with docker.container() as identity:
        terminal = harness.Terminal(docker.docker_command("exec", "-i", "-t", identity, "sh"), rows=30, columns=90)
        terminal.expect("# ")

        terminal.send("while [ \"$(stty size)\" != '30 90' ]; do sleep 0.1; done; echo si''zed; exit 5\n")
        terminal.expect("sized")

        assert terminal.close() == 5


def test_exec_of_a_missing_binary_names_it(docker):
    with docker.container() as identity:
        result = docker.exec(identity, MISSING)

        assert result.code in (126, 127), result
        # Docker says so on the stream of the output.
        assert MISSING in result.out.decode() + result.err
        assert docker.exec(identity, "true").code == 0


def test_logs_have_both_streams(docker):
    with docker.container("sh", "-c", "echo out; echo err >&2") as identity:
        docker.wait_exited(identity)

        result = docker.docker("logs", identity)

        assert result.out == b"out\n"
        assert result.err == "err\n"


def test_ps_shows_running_and_ended_containers(docker):
    with docker.container() as running, docker.container("sh", "-c", "exit 4") as ended:
        docker.wait_exited(ended)

        lines = docker.docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Status}}").out.decode().splitlines()
        status = dict(line.split(" ", 1) for line in lines)

        assert status[running].startswith("Up ")
        assert status[ended].startswith("Exited (4)")


def test_top_is_not_empty(docker):
    with docker.container() as identity:
        result = docker.docker("top", identity)

        assert result.code == 0, result.err
        assert len(result.out.decode().splitlines()) >= 2


def test_pid_lives_in_a_network_namespace_of_its_own(docker):
    with docker.container() as identity:
        pid = docker.state(identity)["Pid"]

        assert harness.read(f"/proc/{pid}/cmdline")
        assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")


def test_stop_sends_term_and_keeps_the_programs_exit_code(docker):
    script = 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done'
    with docker.container("sh", "-c", script) as identity:
        wait_for_logs(docker, identity, b"ready")

        assert docker.docker("stop", "--time", harness.COMMAND_SECONDS, identity).code == 0

        assert docker.wait_exited(identity) == 9


def test_stop_kills_who_ignores_term(docker):
    with docker.container("sh", "-c", 'trap "" TERM; echo ready; while :; do sleep 0.1; done') as identity:
        wait_for_logs(docker, identity, b"ready")

        assert docker.docker("stop", "--time", "1", identity).code == 0

        assert docker.wait_exited(identity) == 137


def test_kill_ends_with_137_and_wait_tells(docker):
    with docker.container() as identity:
        waiter = subprocess.Popen(docker.docker_command("wait", identity), stdout=subprocess.PIPE)

        assert docker.docker("kill", identity).code == 0

        assert waiter.communicate(timeout=harness.COMMAND_SECONDS)[0].strip() == b"137"


def test_remove_by_force_of_a_running_container(docker):
    with docker.container() as identity:
        result = docker.docker("rm", "--force", identity)

        assert result.code == 0, result.err
        assert identity not in docker.containers()


def test_start_again_keeps_the_files(docker):
    with docker.container("sh", "-c", "echo x >>/count; wc -l </count") as identity:
        assert docker.wait_exited(identity) == 0

        assert docker.docker("start", identity).code == 0
        wait_for_logs(docker, identity, b"1\n2\n")

        assert docker.wait_exited(identity) == 0


def test_restart_of_a_running_container(docker):
    with docker.container("sh", "-c", "cat /proc/sys/kernel/random/boot_id; exec sleep 1000") as identity:
        harness.wait_for(lambda: docker.docker("logs", identity).out.count(b"\n") == 1, "the first start")

        assert docker.docker("restart", "--time", "0", identity).code == 0

        harness.wait_for(lambda: docker.docker("logs", identity).out.count(b"\n") == 2, "the second start")
        assert len(set(docker.docker("logs", identity).out.split())) == 2
        assert docker.state(identity)["Running"]


def test_restart_policy_starts_again(docker):
    with docker.container("sh", "-c", "echo x; exit 3", flags=("--restart", "on-failure:2")) as identity:
        harness.wait_for(lambda: docker.docker("logs", identity).out == b"x\n" * 3, "three starts")

        assert docker.wait_exited(identity) == 3


def test_health_check_runs(docker):
    flags = ("--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-timeout", "60s")
    with docker.container("sh", "-c", "touch /tmp/well; exec sleep 1000", flags=flags) as identity:
        harness.wait_for(lambda: docker.state(identity)["Health"]["Status"] == "healthy", "a healthy container")


def test_copy_in_and_out(docker, tmp_path):
    (tmp_path / "in").write_text("from the host\n", encoding="utf-8")
    with docker.container("sh", "-c", "echo from the guest >/out; echo ready; exec sleep 1000") as identity:
        wait_for_logs(docker, identity, b"ready")

        into = docker.docker("cp", tmp_path / "in", f"{identity}:/in")
        out = docker.docker("cp", f"{identity}:/out", tmp_path / "out")

        assert into.code == 0, into.err
        assert out.code == 0, out.err
        assert docker.exec(identity, "cat", "/in").out == b"from the host\n"
        assert (tmp_path / "out").read_text(encoding="utf-8") == "from the guest\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_container_goes_on_while_dockerd_restarts(docker, how):
    with docker.container("sh", "-c", "while ! test -e /go; do sleep 0.1; done; echo went; exit 6") as identity:
        pid = docker.state(identity)["Pid"]

        docker.stop_daemon(how)
        docker.start_daemon()

        assert docker.state(identity)["Running"]
        assert docker.state(identity)["Pid"] == pid
        assert docker.exec(identity, "touch", "/go").code == 0
        assert docker.wait_exited(identity) == 6
        assert docker.docker("logs", identity).out == b"went\n"


def test_dead_machine_ends_the_container(docker):
    with docker.container() as identity:
        machines = docker.qemu_pids(identity)
        assert machines

        harness.kill(machines)

        assert docker.wait_exited(identity) == 137


# --- resources ---

def test_memory_limit_bites(docker):
    result = docker.run("sh", "-c", USE_64_MIB, flags=("--memory", "32m", "--memory-swap", "32m"))

    assert b"code 137" in result.out, result


def test_out_of_memory_is_reported(docker):
    command = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
    with docker.container(*command, flags=("--memory", "32m", "--memory-swap", "32m")) as identity:
        assert docker.wait_exited(identity) == 137
        assert docker.state(identity)["OOMKilled"]


def test_pids_limit_bites(docker):
    result = docker.run("sh", "-c", "for i in $(seq 20); do sleep 100 & done; echo all", flags=("--pids-limit", "8"))

    assert b"all" not in result.out
    assert "fork" in result.err


def test_pause_stops_and_unpause_goes_on(docker):
    script = "i=0; while :; do i=$((i+1)); echo $i >/data/count; done"
    flags = ("--tmpfs", "/data")
    with docker.container("sh", "-c", script, flags=flags) as identity:
        harness.wait_for(lambda: docker.exec(identity, "cat", "/data/count").out.strip(), "the first count")

        paused = docker.docker("pause", identity)
        assert paused.code == 0, paused.err
        assert docker.state(identity)["Status"] == "paused"
        assert docker.docker("unpause", identity).code == 0
        assert docker.state(identity)["Status"] == "running"

        # The program may be anywhere between opening and writing: an empty file counts as nothing.
        before = harness.wait_for(lambda: docker.exec(identity, "cat", "/data/count").out.strip(), "a count")
        harness.wait_for(lambda: docker.exec(identity, "cat", "/data/count").out.strip() not in (b"", before),
                         "the count to go on")


def test_paused_container_writes_nothing(docker):
    """Output is counted on this side, where nothing is paused."""
    script = "while :; do echo x; sleep 0.05; done"
    with docker.container("sh", "-c", script) as identity:
        wait_for_logs(docker, identity, b"x")
        paused = docker.docker("pause", identity)
        assert paused.code == 0, paused.err

        def settled():
            before = docker.docker("logs", identity).out
            for _ in range(20):  # 20 calls of the client take far longer than 0.05 s
                if docker.docker("logs", identity).out != before:
                    return False
            return True
        harness.wait_for(settled, "the paused container's output to stand still")

        count = len(docker.docker("logs", identity).out)
        assert docker.docker("unpause", identity).code == 0
        harness.wait_for(lambda: len(docker.docker("logs", identity).out) > count, "the output to go on")


def test_stats_show_memory_and_processes(docker):
    with docker.container("sh", "-c", "sleep 1000 & sleep 1000 & wait", flags=("--memory", "64m")) as identity:
        result = docker.docker("stats", "--no-stream", "--format", "{{json .}}", identity)

        assert result.code == 0, result.err
        stats = json.loads(result.out)
        assert "64MiB" in stats["MemUsage"]
        assert not stats["MemUsage"].startswith("0B")
        assert int(stats["PIDs"]) >= 3


def test_update_raises_the_memory_limit(docker):
    with docker.container(flags=("--memory", "32m", "--memory-swap", "32m")) as identity:
        assert b"code 137" in docker.exec(identity, "sh", "-c", USE_64_MIB).out

        updated = docker.docker("update", "--memory", 128 * MIB, "--memory-swap", 128 * MIB, identity)

        assert updated.code == 0, updated.err
        assert b"code 0" in docker.exec(identity, "sh", "-c", USE_64_MIB).out


def test_several_containers_each_in_a_machine_of_its_own(docker):
    with docker.container() as one, docker.container() as two:
        boots = {docker.exec(identity, "cat", "/proc/sys/kernel/random/boot_id").out for identity in (one, two)}

        assert len(boots) == 2


# --- devices ---

def test_a_block_device_is_the_hosts_at_the_path_that_was_asked_for(docker):
    with loop_device(docker.directory) as disk:
        with open(disk, "r+b") as file:
            file.write(b"from the host\n")
        write = "echo from the guest | dd of=/dev/xvda conv=notrunc,fsync 2>/dev/null"
        script = f"head -n 1 /dev/xvda; {write}; echo $?"
        result = docker.run("sh", "-c", script, flags=("--device", f"{disk}:/dev/xvda:r"))
        assert result.out == b"from the host\n1\n", result

        result = docker.run("sh", "-c", script, flags=("--device", f"{disk}:/dev/xvda"))
        assert result.out == b"from the host\n0\n", result
        with open(disk, "rb") as file:
            assert file.readline() == b"from the guest\n"


def test_a_privileged_container_gets_no_disk_of_the_host(docker):
    with loop_device(docker.directory) as disk:
        result = docker.run("sh", "-c", "ls /sys/block", flags=("--privileged",))
        assert result.code == 0, result
        assert disk.rsplit("/", 1)[-1].encode() not in result.out and b"vda" not in result.out
