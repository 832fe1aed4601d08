# SPDX-License-Identifier: Apache-2.0
"""The sandbox container of a pod, as CRI and CRI-O mark it: the agent's own process, which holds the namespaces."""
import contextlib
import json
import subprocess

import pytest

import harness
from test_resources import events, metrics, topics
from test_user_namespaces import FIRST, MAPPING

NOWHERE = "/there-is-no-such-place"
CRI = ("io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id")
CRIO = ("io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID")


def annotations(kind, pod, keys=CRI):
    return dict(zip(keys, (kind, pod)))


def flags(kind, pod, keys=CRI):
    return [word for name, value in annotations(kind, pod, keys).items() for word in ("--annotation", f"{name}={value}")]


@contextlib.contextmanager
def started(kata, spec, identity):
    """A container of a whole OCI configuration, without standard streams, as CRI makes a sandbox."""
    path = kata.directory / f"{identity}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    result = kata.ctr("run", "--detach", "--null-io", "--runtime", kata.runtime, "--config", path, identity)
    path.unlink()
    assert result.code == 0, f"{result.err}\n{kata.log_tail()}"
    try:
        yield identity
    finally:
        kata.remove(identity)


def sandbox_spec(kata, pod, **linux):
    """As containerd's CRI has it, but that nothing of its image is there."""
    spec = kata.default_spec(f"{NOWHERE}/pause")
    spec["root"] = {"path": NOWHERE, "readonly": True}
    spec["process"].update(cwd=NOWHERE, user={"uid": 65535, "gid": 65535})
    spec["mounts"].append({"destination": "/etc/resolv.conf", "type": "bind", "source": f"{NOWHERE}/resolv.conf",
                           "options": ["rbind", "ro"]})
    spec["annotations"] = annotations("sandbox", pod)
    spec["hostname"] = "the-pod"
    spec["linux"].update(linux)
    return spec


def member_spec(kata, pod, *command, shared=("ipc", "uts", "pid"), options=()):
    """A container that joins namespaces of the pod's sandbox by its process on the host."""
    spec = kata.default_spec(*command, flags=options)
    spec["annotations"] = annotations("container", pod)
    pid = kata.tasks()[pod][0]
    for item in spec["linux"]["namespaces"]:
        if item["type"] in shared:
            item["path"] = f"/proc/{pid}/ns/{item['type']}"
    return spec


def mounts_of(pid):
    return harness.read(f"/proc/{pid}/mountinfo")


@pytest.mark.parametrize("keys", [CRI, CRIO], ids=["cri", "cri-o"])
def test_no_file_and_no_program_of_the_image_is_used(kata, keys):
    pod = kata.new_id("pod")
    with kata.container(f"{NOWHERE}/program", identity=pod, flags=flags("sandbox", pod, keys)):
        assert kata.tasks()[pod][1] == "RUNNING"
        with kata.container(flags=flags("container", pod, keys)) as member:
            assert kata.exec(member, "true").code == 0
            daemons = "".join(mounts_of(pid) for pid in harness.processes("virtiofsd", pod))

    assert f"/{member}/rootfs" in daemons
    assert f"/{pod}/rootfs" not in daemons


@pytest.mark.parametrize("signal, code", [("SIGTERM", 0), ("SIGINT", 0), ("SIGKILL", 137)])
def test_ends_as_the_pause_program_does(kata, tmp_path, signal, code):
    pod = kata.new_id("pod")
    path = tmp_path / "events"
    with events(kata, path):
        with started(kata, sandbox_spec(kata, pod), pod):
            assert kata.ctr("task", "kill", "-s", "SIGHUP", pod).code == 0
            assert kata.ctr("task", "kill", "-s", signal, pod).code == 0
            harness.wait_for(lambda: kata.tasks()[pod][1] == "STOPPED", "the sandbox container to end")
            deleted = kata.ctr("task", "rm", pod)
        harness.wait_for(lambda: "/tasks/delete" in topics(path, pod), "the last event")

    # It says nothing of 0.
    assert deleted.code == 0 and (f"exit code {code}" in deleted.err if code else not deleted.err), deleted
    assert topics(path, pod) == ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]


def test_answers_what_any_container_does(kata):
    pod = kata.new_id("pod")
    with started(kata, sandbox_spec(kata, pod), pod):
        assert kata.ctr("task", "pause", pod).code == 0
        assert kata.tasks()[pod][1] == "PAUSED"
        assert kata.ctr("task", "resume", pod).code == 0
        values = metrics(kata, pod)
        assert values["pids.current"] == 1
        print("memory of a sandbox container:", values.get("memory.usage_in_bytes", values.get("memory.usage")), "bytes")
        assert len(kata.ctr("task", "ps", pod).out.decode().splitlines()) == 2
        refused = kata.exec(pod, "true")
        assert refused.code != 0
        assert f'container "{pod}": it is the sandbox container, which has no programs' in refused.err
        assert kata.tasks()[pod][1] == "RUNNING"


SHARES = """
test $(hostname) = the-pod && test $(cat /proc/sys/kernel/msgmax) = 4321 && test "$(cat /proc/1/comm)" = pause &&
echo x >/dev/shm/file && (sleep 0.1 &) && readlink /proc/self/ns/ipc && exec sleep 1000
"""


@contextlib.contextmanager
def shared_memory(kata):
    """What CRI mounts for a pod on the host."""
    path = kata.directory / "shm"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777,nosuid,nodev,noexec", "shm", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)
        path.rmdir()


def test_a_pods_containers_share_its_namespaces_and_its_memory(kata):
    pod, one = kata.new_id("pod"), kata.new_id()
    script = "hostname; cat /dev/shm/file /proc/sys/kernel/msgmax; df -k /dev/shm | tail -n 1 | awk '{print $2}'; " \
             "until ! ps -o stat,args | grep -q '^Z\\|[s]leep 0.1'; do sleep 0.05; done; " \
             "ps -o pid,args | awk '$1 == 1 {print $2}'"
    with shared_memory(kata) as memory:
        sandbox = sandbox_spec(kata, pod, sysctl={"kernel.msgmax": "4321"})
        volume = {"destination": "/dev/shm", "type": "bind", "source": str(memory), "options": ["rbind", "rw"]}
        sandbox["mounts"].append(volume)
        with started(kata, sandbox, pod):
            members = [member_spec(kata, pod, "sh", "-c", words) for words in (SHARES, script)]
            for spec in members:
                spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/dev/shm"] + [volume]
            with started(kata, members[0], one):
                harness.wait_for(lambda: kata.exec(one, "test", "-e", "/dev/shm/file").code == 0, "the first container")
                result = kata.run_config(members[1])
        left = list(memory.iterdir())

    assert result.out.decode().split() == ["the-pod", "x", "4321", "1024", "/pause"], result
    assert left == []


def test_a_privileged_neighbour_reaches_nothing_of_the_agent(kata):
    pod = kata.new_id("pod")
    script = "ls /proc/1/root; ls -l /proc/1/fd | grep -o '/.*'; echo x >/proc/1/exe || echo refused; " \
             "awk '/VmRSS|Threads/ {print $1, $2}' /proc/1/status"
    with started(kata, sandbox_spec(kata, pod), pod):
        spec = member_spec(kata, pod, "sh", "-c", script, options=("--privileged",))
        result = kata.run_config(spec)
        assert kata.tasks()[pod][1] == "RUNNING"

    lines = result.out.decode().splitlines()
    assert lines[:2] == ["dev", "pause"], result
    assert set(lines[2:-3]) == {"/dev/null"} and lines[-3] == "refused", result
    print("the sandbox's process:", *lines[-2:])
    assert lines[-1] == "Threads: 1", result


def test_a_pod_without_a_shared_pid_namespace(kata):
    pod = kata.new_id("pod")
    with started(kata, sandbox_spec(kata, pod), pod):
        result = kata.run_config(member_spec(kata, pod, "sh", "-c", "hostname; echo $$", shared=("ipc", "uts")))

    assert result.out.split() == [b"the-pod", b"1"], result


def test_a_pod_with_a_user_namespace(kata):
    pod = kata.new_id("pod")
    spec = sandbox_spec(kata, pod, uidMappings=MAPPING, gidMappings=MAPPING, sysctl={"kernel.msgmax": "4321"})
    spec["linux"]["namespaces"].append({"type": "user"})
    with started(kata, spec, pod):
        member = member_spec(kata, pod, "sh", "-c", "cat /proc/self/uid_map /proc/sys/kernel/msgmax; hostname")
        pid = kata.tasks()[pod][0]
        member["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{pid}/ns/user"})
        member["linux"].update(uidMappings=MAPPING, gidMappings=MAPPING)
        result = kata.run_config(member)
        assert kata.ctr("task", "kill", "-s", "SIGTERM", pod).code == 0
        harness.wait_for(lambda: kata.tasks()[pod][1] == "STOPPED", "the sandbox container to end")

    assert result.out.decode().split() == ["0", str(FIRST), "65536", "4321", "the-pod"], result


def test_a_hook_that_would_run_in_it_is_refused(kata):
    pod = kata.new_id("pod")
    spec = sandbox_spec(kata, pod)
    spec["hooks"] = {"startContainer": [{"path": "/bin/true"}]}

    result = kata.run_config(spec, identity=pod)

    assert result.code != 0
    assert "hooks.startContainer: a sandbox container has no programs for it" in result.err
