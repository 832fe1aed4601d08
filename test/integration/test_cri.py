# SPDX-License-Identifier: Apache-2.0
"""Pods through containerd's CRI as the kubelet asks for them, with a sandbox container; runc's pods beside them."""
import concurrent.futures
import os
import pathlib

import pytest

import cri_cases
import harness
from cri import (EXITED, KATA, OF_NODE, OF_POD, READY, RUNC, RUNNING, CallError, Pod, containerd, major_version,
                 pod_of)
from test_disks import loop_device
from ttrpc_client import decode, decode_all

ENDED_STATUS = 137
MIB = 1 << 20
PUBLISHED = 18080
CONTAINERS = 10
PODS = int(os.environ.get("KATA_CRI_PODS", "3"))  # one after the other; the rest is more of the same
BOTH = pytest.mark.parametrize("handler", [KATA, RUNC])
pytestmark = pytest.mark.skipif(major_version() < 1, reason="needs containerd")


@pytest.fixture(scope="module", name="cri")
def containerd_with_cri(prefix, tmp_path_factory):
    with containerd(prefix, tmp_path_factory.mktemp("cri-call")) as cri:
        yield cri


def loop(command):
    return "sh", "-c", f"while ! {command}; do sleep 0.2; done"


@BOTH
def test_pod_of_two_containers(cri, handler):
    with pod_of(cri, "two", handler=handler) as pod:
        assert pod.state() == READY
        first = pod.start("first", "sleep", "31415")
        second = pod.start("second", "sleep", "1000")

        assert pod.container(first).get(3, 0) == RUNNING
        assert pod.exec(first, "hostname") == (0, "two\n")
        assert pod.exec(first, "cat", "/etc/resolv.conf")[1].split() == ["search", "pods.test", "nameserver", "192.0.2.53"]
        assert pod.exec(first, "cat", "/proc/sys/net/core/somaxconn") == (0, "321\n")
        assert pod.address() in pod.exec(first, "ip", "address", "show", "eth0")[1]
        assert pod.exec(first, "sh", "-c", "echo note >/dev/shm/note; exit 5")[0] == 5
        assert pod.exec(second, "cat", "/dev/shm/note") == (0, "note\n")
        assert pod.exec(second, "sh", "-c", "ps -o args | grep -q 'sleep 3141[5]'")[0] == 1

        cri.call("StopContainer", {1: first, 2: 0})
        ended = pod.container(first)
        assert ended[3] == EXITED and ended[7] == ENDED_STATUS
        cri.call("RemoveContainer", {1: first})
        third = pod.start("third", "sh", "-c", "exit 3")
        assert pod.wait_exit(third) == 3
        assert pod.state() == READY


@BOTH
def test_containers_of_a_pod_share_a_volume_that_is_a_block_device(cri, handler):
    with loop_device(cri.directory) as disk, pod_of(cri, "block", handler=handler) as pod:
        def start(name, permissions):
            return pod.start(name, "sleep", "1000", devices=[{1: "/dev/xvda", 2: disk, 3: permissions}])
        writer, reader = start("writer", "rwm"), start("reader", "r")
        write = ("sh", "-c", "echo written | dd of=/dev/xvda conv=notrunc,fsync 2>/dev/null")
        assert pod.exec(writer, *write)[0] == 0
        assert pod.exec(reader, "head", "-n", "1", "/dev/xvda") == (0, "written\n")
        assert pod.exec(reader, *write)[0] != 0

        cri.call("StopContainer", {1: writer, 2: 0})
        cri.call("RemoveContainer", {1: writer})
        assert pod.exec(reader, "head", "-n", "1", "/dev/xvda") == (0, "written\n")
        with open(disk, "rb") as file:
            assert file.read(8) == b"written\n"


@BOTH
def test_pod_that_shares_its_pids(cri, handler):
    """The sandbox's process is the first, and takes the orphans."""
    with pod_of(cri, "pids", pids=OF_POD, handler=handler) as pod:
        pod.start("first", "sleep", "31415")
        second = pod.start("second", "sleep", "1000")

        assert pod.exec(second, "sh", "-c", "ps -o args | grep -q 'sleep 3141[5]'")[0] == 0
        if handler == KATA:  # runc's is a sleep here, which takes none
            assert pod.exec(second, "cat", "/proc/1/comm") == (0, "pause\n")
            pod.exec(second, "sh", "-c", "(sleep 0.1 &) ; exit 0")
            pod.exec(second, *loop("test $(ps -o stat,args | grep -c '^Z') = 0"))


def test_pods_and_the_host_reach_each_other(cri):
    """A server in a pod of each kind, asked from a pod of the other and from the bridge's side."""
    with pod_of(cri, "net-kata") as here, pod_of(cri, "net-runc", handler=RUNC) as there:
        for server, client in ((here, there), (there, here)):
            listening = server.start("server", "httpd", "-f", "-p", "8080", "-h", "/etc")
            asking = client.start("client", "sleep", "1000")
            url = f"http://{server.address()}:8080/hostname"
            name = server.config[2]
            assert client.exec(asking, *loop(f"wget -qO- {url}")) == (0, f"{name}\n")
            ping = client.exec(asking, "ping", "-c", "1", "-W", "20", server.address())
            assert ping[0] == 0, ping
            cri.call("StopContainer", {1: listening, 2: 0})


def test_a_port_of_the_node_leads_to_the_pod(cri):
    with pod_of(cri, "published", ports={PUBLISHED: 80}) as pod:
        pod.start("server", "httpd", "-f", "-p", "80", "-h", "/etc")
        ask = fr"printf 'GET /hostname HTTP/1.0\r\n\r\n' | busybox nc -w 10 10.88.0.1 {PUBLISHED}"
        harness.wait_for(lambda: cri.in_its_network("sh", "-c", ask)[1].endswith("\n\npublished\n"), "the pod's answer")
    assert str(PUBLISHED) not in cri.in_its_network("iptables-save")[1]


def test_logs_follow_their_rotation(cri):
    with pod_of(cri, "logs") as pod:
        writer = pod.start("writer", "sh", "-c", "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i; echo e$i >&2; sleep 0.01; done")
        path = pod.logs / "writer.log"
        harness.wait_for(lambda: path.stat().st_size > 0, "a first line")
        path.rename(pod.logs / "writer.log.1")
        cri.call("ReopenContainerLog", {1: writer})
        pod.wait_exit(writer)

        lines = []
        for name in ("writer.log.1", "writer.log"):
            lines += [line.split(" ", 3)[1::2] for line in harness.read(pod.logs / name).splitlines()]
        assert [text for stream, text in lines if stream == "stdout"] == [str(i) for i in range(1, 401)]
        assert [text for stream, text in lines if stream == "stderr"] == [f"e{i}" for i in range(1, 401)]


def test_rights_are_those_of_the_security_context(cri):
    """What a program sees of its user, groups, capabilities, filter and root is the same under both."""
    script = ("id -u; id -g; id -G; grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; "
              "touch /x 2>/dev/null || echo read-only; cat /proc/kcore | wc -c; echo x 2>/dev/null >/proc/sys/kernel/domainname || echo refused")
    security = {1: {1: "NET_ADMIN", 2: ["CHOWN", "KILL"]}, 5: {1: 1000}, 7: 1, 8: bytes([7, 8]), 11: 1, 12: {1: 1001}, 13: "/proc/kcore",
                14: "/proc/sys", 15: {1: 0}}
    seen = {}
    for handler in (KATA, RUNC):
        with pod_of(cri, f"rights-{handler}", handler=handler) as pod:
            pod.wait_exit(pod.start("one", "sh", "-c", script, security=security))
            seen[handler] = [text for stream, text in pod.log("one") if stream == "stdout"]

    assert seen[KATA] == seen[RUNC]
    assert seen[KATA][:3] == ["1000", "1001", "1001 7 8 2000"]
    assert seen[KATA][-5:] == ["NoNewPrivs:\t1", "Seccomp:\t2", "read-only", "0", "refused"]


def test_resources_are_counted_and_change(cri):
    with pod_of(cri, "sized") as pod:
        identity = pod.start("one", "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=20; sleep 1000",
                             resources={4: 48 * MIB})
        def used():
            stats = decode(decode(cri.call("ContainerStats", {1: identity}))[1])
            cpu, memory = (decode(decode(stats[field])[2]).get(1, 0) if 2 in decode(stats[field]) else 0 for field in (2, 3))
            return cpu > 0 and 20 * MIB < memory < 48 * MIB
        harness.wait_for(used, "the container's memory and processor time")

        assert pod.exec(identity, "dd", "if=/dev/zero", "of=/dev/shm/y", "bs=1M", "count=40")[0] == ENDED_STATUS
        assert pod.exec(identity, "rm", "/dev/shm/y")[0] == 0
        cri.call("UpdateContainerResources", {1: identity, 2: {4: 128 * MIB}})
        assert pod.exec(identity, "dd", "if=/dev/zero", "of=/dev/shm/y", "bs=1M", "count=40")[0] == 0


def test_the_hosts_network_is_refused(cri):
    sockets = cri.shim_sockets()
    with pytest.raises(CallError, match="hostNetwork"):
        Pod(cri, "host", namespaces={1: OF_NODE})
    harness.wait_for(lambda: not cri.shim_pids(), "the shim to end")
    assert not cri.wait_clean(sockets)


def test_pod_is_in_the_cgroup_of_its_parent(cri):
    parent = f"/pods-of-{os.getpid()}"  # which stays, as the kubelet's does
    with pod_of(cri, "counted", more={1: parent}) as pod:
        places = [pathlib.Path("/sys/fs/cgroup", hierarchy, f"{parent[1:]}/{pod.identity}") for hierarchy in ("", "memory", "cpu")]
        places = [place for place in places if place.exists()]
        assert places
        for place in places:
            assert {int(pid) for pid in harness.read(place / "cgroup.procs").split()} >= {*pod.machines(), *cri.shim_pids(pod.identity)}
    for hierarchy in pathlib.Path("/sys/fs/cgroup").glob(f"*/{parent[1:]}"):
        hierarchy.rmdir()


def test_a_pod_is_counted_as_a_whole(cri):
    parent = f"/whole-{os.getpid()}"  # containerd reads the numbers of the pod's cgroup on the host
    with pod_of(cri, "counted-whole", more={1: parent}) as pod:
        identity = pod.start("one", "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=20; sleep 1000")
        def stats():
            answer = decode(decode(cri.call("PodSandboxStats", {1: pod.identity}))[1])
            return decode(answer[2]), {decode(decode(one)[1])[1].decode() for field, one in decode_all(answer[2]) if field == 5}
        harness.wait_for(lambda: identity in stats()[1], "the container's own statistics")
        linux, _ = stats()
        assert decode(decode(linux[1])[2]).get(1, 0) > 0  # processor time
        assert decode(decode(linux[3])[2])[1] == b"eth0"
    for hierarchy in pathlib.Path("/sys/fs/cgroup").glob(f"*/{parent[1:]}"):
        hierarchy.rmdir()


def test_pod_of_ten_containers(cri):
    """All of them at once, each with its own processes and its share of the pod's; then they go one by one."""
    with pod_of(cri, "ten") as pod:
        with concurrent.futures.ThreadPoolExecutor(CONTAINERS) as threads:
            made = list(threads.map(lambda number: pod.start(f"c{number}", "sleep", str(1000 + number)), range(CONTAINERS)))
        for number, identity in enumerate(made):
            assert pod.exec(identity, "sh", "-c", f"ps -o args | grep -c '^sleep'; echo {number} >>/dev/shm/all") == (0, "1\n")
        assert pod.exec(made[0], "cat", "/dev/shm/all") == (0, "".join(f"{number}\n" for number in range(CONTAINERS)))
        assert len(pod.machines()) == 1
        for identity in made:
            cri.call("StopContainer", {1: identity, 2: 0})
            cri.call("RemoveContainer", {1: identity})
        assert pod.state() == READY
        assert pod.wait_exit(pod.start("last", "true")) == 0


def test_pods_made_and_removed_leave_nothing(cri):
    for number in range(PODS):
        with pod_of(cri, f"turn-{number}") as pod:
            assert pod.exec(pod.start("one", "sleep", "1000"), "hostname") == (0, f"turn-{number}\n")


def test_five_pods_at_once(cri):
    sockets = cri.shim_sockets()

    def life(number):
        pod = Pod(cri, f"many-{number}")
        try:
            one, two = (pod.start(name, "sleep", "1000") for name in ("one", "two"))
            return pod.exec(one, "hostname"), pod.exec(two, "hostname")
        finally:
            pod.stop()
            pod.remove()

    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        lives = [threads.submit(life, number) for number in range(5)]
    for number, found in enumerate(lives):
        assert found.result() == ((0, f"many-{number}\n"),) * 2
    assert not cri.wait_clean(sockets)


def test_pod_whose_machine_dies_is_not_ready(cri):
    cri_cases.machine_dies(cri)


def test_pod_outlives_containerd(cri):
    cri_cases.outlives_containerd(cri)


def test_people_know_the_pod_by_its_name(cri, ctl):
    cri_cases.people_know_it_by_its_name(cri, ctl)
