# SPDX-License-Identifier: Apache-2.0
"""Containers of one pod: what one does to itself, the others must not notice."""
import contextlib
import json
import subprocess
import time

import harness
from test_resources import events, metrics, topics

HOG = 'x=a; while :; do x=$x$x; done'
# Forks until nothing more can be forked, and goes on; its first process does not fork.
BOMB = "(bomb() { bomb | bomb & bomb; }; bomb) 2>/dev/null & exec sleep 100000"
BOMBED = 1000  # processes at least that a machine of 512 MiB bears
# Prints the number of the other container's init, and of a process that is stopped: the parent, outside, of one in the
# other's pid namespace.
PIN = """
pids() { ps -o pid,args | grep "$1" | awk '{print $1}'; }
init=$(pids 'sleep [3]1415')
long=100000
nsenter -t $init -p sleep $long >/dev/null 2>&1 &
until pids 'sleep [1]00000' | grep -qvx $!; do sleep 0.1; done
kill -STOP $!
echo $init $!
"""


def annotations(kind, pod):
    return ("--annotation", f"io.kubernetes.cri.container-type={kind}",
            "--annotation", f"io.kubernetes.cri.sandbox-id={pod}")


@contextlib.contextmanager
def quiet_pod(kata, flags=()):
    """A pod with a container that works a little all the time; the value is the pod's id."""
    pod = kata.new_id("pod")
    script = "i=0; while :; do i=$((i+1)); sleep 0.1; echo $i >/tmp/beat; done"
    with kata.container(identity=pod, flags=(*annotations("sandbox", pod), *flags)), \
            kata.container("sh", "-c", script, identity=quiet(pod), flags=annotations("container", pod)):
        yield pod


def quiet(pod):
    return f"{pod}-quiet"


def beats(kata, pod):
    result = kata.exec(quiet(pod), "cat", "/tmp/beat")
    assert result.code == 0, result.err
    return int(result.out or b"0")


def assert_notices_nothing(kata, pod):
    tasks = kata.tasks()
    assert tasks[pod][1] == tasks[quiet(pod)][1] == "RUNNING"
    before = beats(kata, pod)
    harness.wait_for(lambda: beats(kata, pod) > before, "the neighbour to go on")


def wait_stopped(kata, identity):
    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", f"{identity} to end")


def test_a_memory_hog_dies_alone_and_is_told_of(kata, tmp_path):
    path = tmp_path / "events"
    hog = kata.new_id("hog")
    with events(kata, path), quiet_pod(kata) as pod:
        client = subprocess.Popen(kata.run_command("sh", "-c", HOG, identity=hog, flags=annotations("container", pod)),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert client.wait(timeout=harness.COMMAND_SECONDS) == 137

        assert_notices_nothing(kata, pod)
        harness.wait_for(lambda: "/tasks/delete" in topics(path, hog), "the last event")
        assert "/tasks/oom" in topics(path, hog)
        assert "/tasks/oom" not in topics(path, pod) + topics(path, quiet(pod))


def test_a_hog_whose_limit_is_larger_than_the_machine_dies_alone(kata):
    fixed = kata.configured("fixed", "[hypervisor.qemu]\ndefault_maxmemory = 1\n")
    with quiet_pod(kata, fixed) as pod:
        result = kata.run("sh", "-c", HOG, flags=(*annotations("container", pod), "--memory-limit", str(64 << 30)))

        assert result.code == 137, result
        assert_notices_nothing(kata, pod)


def at_the_bound(kata, bomb):
    before = metrics(kata, bomb)["pids.current"]
    time.sleep(1)
    return before > BOMBED and metrics(kata, bomb)["pids.current"] == before


def test_a_fork_bomb_takes_its_own_processes_only(kata):
    bomb = kata.new_id("bomb")
    with quiet_pod(kata) as pod:
        kata.start_detached(bomb, "sh", "-c", BOMB, flags=annotations("container", pod))
        harness.wait_for(lambda: at_the_bound(kata, bomb), "the bomb to get no further")

        assert_notices_nothing(kata, pod)
        with kata.container(flags=annotations("container", pod)) as later:
            assert kata.exec(later, "true").code == 0
        assert_notices_nothing(kata, pod)

        assert kata.ctr("task", "kill", "-s", "SIGKILL", bomb).code == 0
        wait_stopped(kata, bomb)
        kata.remove(bomb)
        assert_notices_nothing(kata, pod)


def test_containers_see_no_bound_but_their_own(kata):
    spec = kata.default_spec("sh", "-c", "cat /proc/self/cgroup; cd /sys/fs/cgroup; cat memory.max pids.max; ls -d ..")
    spec["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                           "options": ["nosuid", "noexec", "nodev", "ro"]})

    result = kata.run_config(spec)

    assert result.out.split()[:3] == [b"0::/", b"max", b"max"], result


@contextlib.contextmanager
def holder(kata, pod):
    """A privileged container of the pod in the guest's own pid namespace."""
    spec = kata.default_spec("sleep", "1000", flags=("--privileged",))
    spec["annotations"] = dict(word.split("=") for word in annotations("container", pod)[1::2])
    spec["linux"]["namespaces"] = [item for item in spec["linux"]["namespaces"] if item["type"] != "pid"]
    identity = kata.new_id("holder")
    path = kata.directory / f"{identity}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    result = kata.ctr("run", "--detach", "--null-io", "--runtime", harness.RUNTIME, "--config", path, identity)
    path.unlink()
    assert result.code == 0, result.err
    try:
        yield identity
    finally:
        kata.remove(identity)


def test_a_container_that_cannot_be_killed_is_given_up_alone(kata):
    """A neighbour holds a zombie in its pid namespace, whose init waits for it and does not end."""
    stuck = kata.new_id("stuck")
    with quiet_pod(kata, kata.letting("pid")) as pod, holder(kata, pod) as other:
        flags = annotations("container", pod)
        kata.start_detached(stuck, "sleep", "31415", flags=flags)
        pinned = kata.exec(other, "sh", "-c", PIN)
        assert pinned.code == 0, pinned.err
        init, parent = pinned.out.decode().split()

        assert kata.ctr("task", "kill", "-s", "SIGKILL", stuck).code == 0

        wait_stopped(kata, stuck)
        assert_notices_nothing(kata, pod)
        assert kata.exec(other, "test", "-d", f"/proc/{init}").code == 0
        kata.remove(stuck)
        # Its name is free, and the rest goes when it can.
        with kata.container(identity=stuck, flags=flags):
            assert kata.exec(stuck, "true").code == 0
            assert kata.exec(other, "kill", "-CONT", parent).code == 0
            harness.wait_for(lambda: kata.exec(other, "test", "-d", f"/proc/{init}").code != 0,
                             "what was left to end")
            assert kata.exec(stuck, "true").code == 0
        assert_notices_nothing(kata, pod)
