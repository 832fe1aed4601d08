# SPDX-License-Identifier: Apache-2.0
"""Fields of the OCI configuration: done in the guest, or refused with a line that names them (docs/oci-fields.md)."""
import contextlib
import json
import os
import socket

import pytest

import ttrpc_client
from task_client import Exec, TaskClient
from test_bootstrap import bundle_of

TASK = "containerd.task.v3.Task"


def edit(kata, *command, **members):
    """The default configuration with members replaced: process__env stands for process.env."""
    spec = kata.default_spec(*command)
    for name, value in members.items():
        at = spec
        *parents, last = name.split("__")
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value
    return spec


def namespace(spec, kind, **members):
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != kind]
    spec["linux"]["namespaces"].append({"type": kind, **members})
    return spec


def run_document(kata, spec):
    """(output, the shim's log) of a document as it stands: ctr drops what is newer than itself. CallError when Create
    or Start is refused."""
    with bundle_of(kata) as bundle:
        identity = {1: bundle.identity}
        (bundle.path / "config.json").write_text(json.dumps(spec), encoding="utf-8")
        address = bundle.shim("start", bundle.bootstrap_params(kata.directory / "sockets", {})).decode().strip()
        with ttrpc_client.Shim(address.removeprefix("unix://")) as shim:
            try:
                shim.call("Create", {**identity, 2: str(bundle.path), 6: str(bundle.path / "stdout")}, service=TASK)
                shim.call("Start", identity, service=TASK)
                shim.call("Wait", identity, service=TASK)
                out = bundle.read_stdout().decode()
                shim.call("Delete", identity, service=TASK)
                return out, os.read(bundle.log, 1 << 20).decode()
            finally:
                with contextlib.suppress(ttrpc_client.CallError):
                    shim.call("Shutdown", {**identity, 2: 1}, service=TASK)
                shim.wait_closed()
                bundle.shim("delete")


@pytest.mark.parametrize("members, part", [
    ({"hooks": {"poststart": [{"path": "hook"}]}}, "hooks.poststart[0].path: "),
    ({"linux__intelRdt": {"closID": "gold"}}, "linux.intelRdt: "),
    ({"linux__netDevices": {"eth7": {"name": "eth0"}}}, "linux.netDevices"),
    ({"linux__rootfsPropagation": "sideways"}, "linux.rootfsPropagation"),
    ({"process__env": ["=v"]}, "process.env"),
    ({"vm": {"kernel": {"path": "/boot/vmlinuz"}}}, "vm: "),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else None)
def test_a_refused_field_is_named(kata, members, part):
    with pytest.raises(ttrpc_client.CallError) as refused:
        run_document(kata, edit(kata, "true", **members))

    assert part in str(refused.value)


def test_what_engines_send_by_default_is_taken(kata):
    out, log = run_document(kata, edit(
        kata, "echo", "good", hooks={"prestart": None, "poststop": []}, process__apparmorProfile="docker-default",
        process__selinuxLabel="system_u:system_r:container_t:s0", process__future={"a": 1},
        linux__mountLabel="system_u:object_r:container_file_t:s0", linux__rootfsPropagation="rprivate"))

    assert out == "good\n"
    warnings = [line for line in log.splitlines() if "process.future" in line]
    assert len(warnings) == 1 and "without effect" in warnings[0]


def test_of_a_repeated_variable_the_last_one_counts(kata):
    result = kata.run_config(edit(kata, "env", process__env=["PATH=/bin", "A=1", "B=2", "A=3"]))

    assert [line for line in result.out.decode().splitlines() if line[:2] in ("A=", "B=")] == ["A=3", "B=2"], result.err


def test_time_namespace_personality_and_io_priority(kata):
    script = "uname -m; ionice; read up rest </proc/uptime; test ${up%.*} -gt 1000000 && echo old"
    spec = namespace(edit(kata, "sh", "-c", script, linux__timeOffsets={"boottime": {"secs": 1000000, "nanosecs": 0}},
                          linux__personality={"domain": "LINUX32"},
                          process__ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 6}), "time")

    assert run_document(kata, spec)[0].splitlines() == ["i686", "best-effort: prio 6", "old"]


def test_scheduler(kata):
    # Niceness and policy (3 is SCHED_BATCH) of the shell, and of its child, which does not get the higher priority.
    spec = edit(kata, "sh", "-c", "cut -d' ' -f19,41 /proc/$$/stat; cut -d' ' -f19,41 /proc/self/stat; true",
                process__scheduler={"policy": "SCHED_BATCH", "nice": -5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]})

    assert run_document(kata, spec)[0].splitlines() == ["-5 3", "0 3"]


def test_processors_of_an_exec(kata):
    with kata.container() as identity, TaskClient(kata.bundle(identity)) as client:
        client.process["execCPUAffinity"] = {"initial": "0", "final": "61"}
        process = Exec(client, identity, "cpus", "nproc").start()
        assert process.wait() == 0
        assert process.read() == b"1\n"
        process.delete()
        client.process["execCPUAffinity"] = {"final": "some"}
        bad = Exec(client, identity, "bad", "nproc")
        with pytest.raises(ttrpc_client.CallError, match="execCPUAffinity"):
            bad.start()
        with contextlib.suppress(ttrpc_client.CallError):
            client.call("Delete", bad.key)
        bad.close()


def test_numbers_of_the_host_fail_no_pod(kata):
    spec = edit(kata, "sh", "-c", "cat /sys/fs/cgroup/cpuset.cpus; nproc",
                linux__resources={"cpu": {"cpus": "61", "mems": "7"},
                                  "blockIO": {"throttleWriteBpsDevice": [{"major": 254, "minor": 77, "rate": 1048576}]}})
    result = kata.run_config(spec)

    assert result.code == 0, result.err
    assert result.out.decode().splitlines()[-1] == "1"


def test_without_a_name_of_its_own_a_container_has_the_hosts(kata):
    spec = edit(kata, "hostname")
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "uts"]
    spec.pop("hostname", None)

    assert kata.run_config(spec).out.decode().strip() == socket.gethostname()


def test_a_memory_limit_that_is_too_small_is_named(kata):
    result = kata.run_config(edit(kata, "true", linux__resources={"memory": {"limit": 4096}}))

    assert result.code != 0
    assert "memory" in result.err and "4096" in result.err


def test_a_namespace_of_another_process_is_refused(kata):
    spec = namespace(edit(kata, "true"), "pid", path=f"/proc/{os.getpid()}/ns/pid")
    result = kata.run_config(spec)

    assert result.code != 0
    assert f"/proc/{os.getpid()}/ns/pid" in result.err and "of no container of this pod" in result.err
