# SPDX-License-Identifier: Apache-2.0
"""The pod's cgroup on the host: what its machine uses is counted and limited there, and nothing of it stays."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

import harness
import own_systemd
from changed_installation import edit, installation, one_line
from failures import told
from harness import read

MIB = 1 << 20
ROOT = pathlib.Path("/sys/fs/cgroup")


def hierarchies():
    """Where cgroups are; version 1's of devices is libvirt's, for the machine alone."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [path for path in ROOT.iterdir() if not path.is_symlink() and path.name != "devices" and (path / "cgroup.procs").exists()]


def members(directory, name="cgroup.procs"):
    return {int(word) for word in read(directory / name).split()}


def threads(pid):
    """{tid: name}"""
    return {int(tid): read(f"/proc/{pid}/task/{tid}/comm").strip() for tid in os.listdir(f"/proc/{pid}/task")}


def number(path, *names):
    """Of the first of several files that is there: versions name them differently."""
    return next(int(read(path / name)) for name in names if (path / name).exists())


def memory_hierarchy():
    return ROOT if hierarchies() == [ROOT] else ROOT / "memory"


def processes_of(kata, identity):
    found = {*kata.shim_pids(identity), *kata.qemu_pids(identity), *harness.processes("virtiofsd", identity)}
    assert len(found) >= 3
    return found


@contextlib.contextmanager
def parent(kata, memory=None):
    """A cgroup as an orchestrator makes one for a pod; the value is its path for linux.cgroupsPath."""
    name = f"{kata.token}-pod"
    for hierarchy in hierarchies():
        (hierarchy / name).mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            if hierarchy.name == "cpuset":
                (hierarchy / name / file).write_text(read(hierarchy / file), encoding="utf-8")
    if memory:
        limit = next(path for path in (memory_hierarchy() / name / file for file in ("memory.max", "memory.limit_in_bytes")) if path.exists())
        limit.write_text(str(memory), encoding="utf-8")
    try:
        yield f"/{name}"
    finally:
        for hierarchy in hierarchies():
            harness.wait_for(lambda place=hierarchy / name: not members(place) and not [p for p in place.iterdir() if p.is_dir()],
                             f"{hierarchy / name} to be empty")
            (hierarchy / name).rmdir()


def test_the_machine_its_daemon_and_the_shim_are_in_it(kata):
    with parent(kata) as pod:
        identity = kata.new_id()
        with kata.container(identity=identity, flags=("--cgroup", f"{pod}/{identity}")):
            for hierarchy in hierarchies():
                assert members(hierarchy / pod[1:] / identity) >= processes_of(kata, identity), hierarchy
            used = number(memory_hierarchy() / pod[1:], "memory.current", "memory.usage_in_bytes")
            assert used > 40 * MIB, "the machine's memory is not counted"


def test_it_is_made_where_ctr_says(kata):
    with kata.container() as identity:
        for hierarchy in hierarchies():
            assert members(hierarchy / "default" / identity) >= processes_of(kata, identity), hierarchy


def test_a_limit_above_it_ends_the_machine_alone(kata):
    with kata.container() as other, parent(kata, memory=200 * MIB) as pod:
        identity = kata.new_id()
        script = "dd if=/dev/zero of=/memory/x bs=1M count=300; sleep 1000"
        result = kata.run("sh", "-c", script, identity=identity,
                          flags=("--cgroup", f"{pod}/{identity}", "--mount", "type=tmpfs,src=tmpfs,dst=/memory,options=size=400m"))

        assert result.code == 137
        log = read(kata.log)
        assert "the pod's cgroup on the host may have 200 MiB" in log and "overhead.podFixed.memory" in log
        assert "the host's kernel has ended a process of the pod" in log
        assert kata.exec(other, "echo", "alive").out == b"alive\n"


def test_the_documented_overhead_is_enough(kata):
    """A pod that uses its limit, whose guest fills the rest of its memory with what it reads."""
    overhead = int(re.search(r"^    memory: (\d+)Mi$", read(harness.REPOSITORY / "configs/kubernetes/runtimeclass.yaml"), re.MULTILINE)[1])
    script = "dd if=/dev/zero of=/memory/x bs=1M count=230 && dd if=/dev/zero of=/big bs=1M count=200 && cat /big | wc -c"
    with parent(kata, memory=(256 + overhead) * MIB) as pod:
        identity = kata.new_id()
        warned = read(kata.log).count("overhead.podFixed.memory")
        result = kata.run("sh", "-c", script, identity=identity,
                          flags=("--cgroup", f"{pod}/{identity}", "--memory-limit", str(256 * MIB),
                                 "--mount", "type=tmpfs,src=tmpfs,dst=/memory,options=size=400m"))

        assert (result.code, result.out) == (0, b"%d\n" % (200 * MIB)), f"{result}\n{kata.log_tail()}"
        assert read(kata.log).count("overhead.podFixed.memory") == warned


def test_a_busy_machine_does_not_outgrow_it(kata):
    """What QEMU keeps for itself is bounded, however many programs have run in the guest: 96 MiB are for it and the daemons."""
    script = "i=0; while [ $i -lt 150 ]; do /bin/ls / >/dev/null; i=$((i+1)); done"
    with kata.container() as identity:
        machine, = kata.qemu_pids(identity)
        assert kata.exec(identity, "sh", "-c", script).code == 0

        own = int(re.search(r"^RssAnon:\s+(\d+) kB$", read(f"/proc/{machine}/status"), re.MULTILINE)[1])
        assert own < 96 * 1024


def test_a_limit_that_no_machine_fits_in_is_told(kata):
    with parent(kata, memory=60 * MIB) as pod:
        result = kata.run("true", flags=("--cgroup", f"{pod}/{kata.new_id()}"))

        assert result.code == 1
        one_line(result.err, "its cgroup on the host had no more memory", "overhead_memory")
        told("A limit that no machine fits in", result.err)


def test_the_hosts_kernel_ends_the_machine_as_it_would_the_container(kata):
    """process.oomScoreAdj, of which a pod's machine has its containers' highest."""
    def scores(pids):
        return {int(read(f"/proc/{pid}/oom_score_adj")) for pid in pids}

    spec = kata.default_spec("sleep", "1000")
    spec["process"]["oomScoreAdj"] = 500
    identity = kata.new_id()
    path = kata.directory / f"{identity}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    before = scores([kata.process.pid])
    result = kata.ctr("run", "--detach", "--null-io", "--runtime", harness.RUNTIME, "--config", path, identity)
    path.unlink()
    assert result.code == 0, result.err
    assert scores([*kata.qemu_pids(identity), *harness.processes("virtiofsd", identity)]) == {500}
    assert scores(kata.shim_pids(identity)) == {min(before.pop() + 1, 1000)}
    kata.remove(identity)


@pytest.mark.parametrize("also", ["shim", "machine"])
def test_a_kill_leaves_nothing_of_it(kata, also):
    with parent(kata) as pod:
        identity = kata.new_id()
        kata.start_detached(identity, "sleep", "1000", flags=("--cgroup", f"{pod}/{identity}"))
        pids = processes_of(kata, identity) if also == "machine" else kata.shim_pids(identity)
        harness.kill(pids)
        kata.remove(identity)


@pytest.mark.parametrize("seconds", [0, 0.003, 0.02, 0.1, 0.4, 1])
@pytest.mark.parametrize("also", ["shim", "machine"])
def test_a_kill_in_the_middle_of_the_start_leaves_nothing(kata, seconds, also):
    """So long after the cgroup is there."""
    with parent(kata) as pod:
        identity = kata.new_id()
        client = subprocess.Popen(kata.command("run", "--detach", "--null-io", "--runtime", harness.RUNTIME, "--cgroup",
                                               f"{pod}/{identity}", kata.image, identity, "sleep", "1000"),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        harness.wait_for((hierarchies()[0] / pod[1:] / identity).exists, "the container's cgroup")
        time.sleep(seconds)
        pids = kata.shim_pids(identity)
        if also == "machine":
            pids += [*kata.qemu_pids(identity), *harness.processes("virtiofsd", identity)]
        harness.kill(pids)
        client.wait(timeout=harness.COMMAND_SECONDS)
        kata.ctr("task", "rm", "--force", identity)
        kata.ctr("container", "rm", identity)


def test_a_path_that_leads_out_is_refused(kata):
    result = kata.run("true", flags=("--cgroup", f"/{kata.token}/../../x"))

    assert result.code == 1
    assert "linux.cgroupsPath" in result.err and f"/{kata.token}/../../x" in result.err
    told("The pod's cgroup on the host cannot be made", result.err)


def test_with_systemd_it_is_a_scope(kata):
    """systemd_cases.py, beside a systemd whose place among processes is the host's of that run."""
    with own_systemd.systemd(f"{kata.token}-systemd") as enter:
        cases = pathlib.Path(__file__).with_name("systemd_cases.py")
        done = subprocess.run([*enter, sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", cases],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(hierarchies() == [ROOT], reason="this is one")
def test_on_a_host_with_version_2_alone(kata):
    """What needs no controller, which are version 1's here: the same tests in a mount namespace that shows nothing else."""
    words = "made_where or kill_leaves or leads_out or processors or hosts_kernel or scope"
    host = 'umount --lazy --recursive /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", host, "sh", sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider",
                           "-k", words, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout and "skipped" not in done.stdout, done.stdout


def test_without_systemd_its_name_is_refused(kata):
    slice_name = f"{kata.token}.slice"
    result = kata.run("true", flags=("--cgroup", f"{slice_name}:x:y"))
    if not os.path.exists(own_systemd.SOCKET):
        assert result.code == 1
        one_line(result.err, '"x-y.scope"', slice_name, own_systemd.SOCKET)
    result = kata.run("true", flags=("--cgroup", f"{kata.token}:x:y"))
    one_line(result.err, f'linux.cgroupsPath "{kata.token}:x:y"', "is no slice")
    told("The name of a cgroup is not systemd's", result.err)


def test_processors_alone_may_be_in_it(kata):
    """sandbox_cgroup_only = false"""
    version1 = [path for path in hierarchies() if not (path / "cgroup.controllers").exists()]
    with installation(kata, change=edit("^sandbox_cgroup_only = .*", "sandbox_cgroup_only = false")) as other:
        if not version1:
            assert "sandbox_cgroup_only" in other.run("true").err
            return
        with other.container() as identity:
            machine = other.qemu_pids(identity)[0]
            processors = {tid for tid, name in threads(machine).items() if name.startswith("CPU ")}
            assert processors
            for hierarchy in version1:
                assert members(hierarchy / "default" / identity, "tasks") == processors, hierarchy
                overhead, = (hierarchy / "kata_overhead").glob(f"{identity}-*")
                assert members(overhead) >= processes_of(other, identity), hierarchy
