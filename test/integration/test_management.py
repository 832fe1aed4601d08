# SPDX-License-Identifier: Apache-2.0
"""What a shim answers on its management socket, and who may ask; what it costs the others."""
import contextlib
import json
import os
import re
import signal
import stat
import time

import pytest
from prometheus_client.openmetrics import parser

import harness
import management
from ttrpc_client import Shim

HANGING = 16  # kHttpConnectionsMax


def figures(text):
    """{family: {(sample, labels): value}} of a page that keeps the format's rules."""
    return {family.name: {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in family.samples}
            for family in parser.text_string_to_metric_families(text)}


def value(families, family, **labels):
    found = [number for (_, given), number in families[family].items() if labels.items() <= dict(given).items()]
    assert len(found) == 1, (family, labels, families[family])
    return found[0]


def test_state_tells_of_the_pod_and_its_containers(kata):
    with kata.container("sh", "-c", "exit 3") as identity:
        harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "its end")
        state = management.state(identity)

        assert state["state"] == "running" and state["id"] == identity and state["namespace"] == "default"
        assert state["sandbox"] == management.directory_of(identity).name
        assert [state["shim"]["pid"]] == kata.shim_pids(identity)
        assert [int(state["machine"]["machine_pid"])] == kata.qemu_pids(identity)
        (container,) = state["containers"]
        assert (container["id"], container["state"], container["exit_status"]) == (identity, "stopped", 3)
        assert container["bundle"] == str(kata.bundle(identity)) and container["execs"] == []


def test_figures_are_of_the_guest_and_of_the_host(kata):
    with kata.container("sh", "-c", "while :; do :; done") as identity:
        page = management.ask(management.socket_of(identity), "/metrics")
        assert page.type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        before = figures(page.body)
        assert value(before, "kata_pod_running") == 1 and value(before, "kata_guest_answers") == 1
        assert value(before, "kata_pod_containers", state="running") == 1
        memory = value(before, "kata_guest_memory_bytes", kind="total")
        available = value(before, "kata_guest_memory_bytes", kind="available")
        assert 0 < available < memory <= value(before, "kata_machine_memory_bytes")
        assert value(before, "kata_process_resident_bytes", process="shim", kind="anonymous") > 1 << 20
        assert value(before, "kata_container_processes", container=identity) == 1
        assert value(before, "kata_call_seconds", method="Create", le="+Inf") == 1
        steps = {dict(labels)["step"] for _, labels in before["kata_start_step_seconds"]}
        assert {"share ready", "virtual machine started", "agent ready"} <= steps and "container started" not in steps

        def busier():
            now = figures(management.ask(management.socket_of(identity), "/metrics").body)
            return all(value(now, family, **labels) > value(before, family, **labels) for family, labels in (
                ("kata_container_cpu_seconds", {"container": identity, "mode": "user"}),
                ("kata_process_cpu_seconds", {"process": "machine", "mode": "user"})))
        harness.wait_for(busier, "the loop's time")
        stats = json.loads(management.ask(management.socket_of(identity), "/stats").body)
        assert stats["guest_memory"]["total"] == memory
        assert stats["containers"][0]["id"] == identity and stats["containers"][0]["cpu_seconds"] > 0


def test_the_documents_and_the_dashboard_have_these_names(kata):
    """Each name of a page is documented, and what the dashboard asks for is among them."""
    document = (harness.REPOSITORY / "docs/management.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(kata_[a-z_]+)`", document))
    with kata.container() as identity:
        management.ask(management.socket_of(identity), "/metrics")
        kata.exec(identity, "no-such-program")
        families = figures(management.ask(management.socket_of(identity), "/metrics").body)
    suffixes = ("", "_total", "_info")
    for name in families:
        assert any(name + suffix in documented for suffix in suffixes), name
    # This pod has no network: the shim's unit tests have those of one.
    seen = {name + suffix for name in families for suffix in suffixes}
    assert {name for name in documented - seen if not name.startswith("kata_network_")} == set(), "names that are no more"
    dashboard = (harness.REPOSITORY / "configs/monitor/grafana-dashboard.json").read_text(encoding="utf-8")
    json.loads(dashboard)
    for name in set(re.findall(r"kata_[a-z_]+", dashboard)):
        assert re.sub(r"_bucket$", "", name) in documented or name.startswith("kata_monitor_"), name


def test_pages_for_people(kata):
    with kata.container() as identity:
        path = management.socket_of(identity)
        assert management.ask(path, "/healthz")[::2] == (200, "ok\n")
        steps = json.loads(management.ask(path, "/timeline").body)
        assert [step["step"] for step in steps][0] == "shim started" and steps[-1]["step"] == "container started"
        assert steps == sorted(steps, key=lambda step: step["at_ns"])
        missing = management.ask(path, "/metric")
        assert missing.status == 404 and "GET /metrics\n" in missing.body
        assert management.ask(path, "/log-level", "PUT", "loud").status == 400
        assert management.ask(path, "/log-level", "PUT", "debug\n")[::2] == (200, "debug\n")
        kata.exec(identity, "true")
        assert management.ask(path, "/state", "DELETE").status == 404
        assert management.ask(path, "/state?x=y").status == 200


def test_a_guest_that_stands_still_does_not_hold_the_page_up(kata):
    with kata.container() as identity:
        pids = kata.qemu_pids(identity)
        harness.kill(pids, signal.SIGSTOP)
        try:
            page = management.ask(management.socket_of(identity), "/metrics")
            again = figures(page.body)
            assert value(again, "kata_guest_answers") == 0 and "kata_guest_memory_bytes" not in again
            assert value(again, "kata_process_threads", process="machine") > 0
            assert management.ask(management.socket_of(identity), "/healthz").status == 200
        finally:
            harness.kill(pids, signal.SIGCONT)
        harness.wait_for(lambda: value(figures(management.ask(management.socket_of(identity), "/metrics").body),
                                       "kata_guest_answers") == 1, "the guest's answer")


def test_only_root_may_ask(kata):
    with kata.container() as identity:
        path = management.socket_of(identity)
        mode = os.lstat(path)
        assert (stat.S_IMODE(mode.st_mode), mode.st_uid) == (0o600, 0)
        child = os.fork()
        if child == 0:
            os.setgid(65534)
            os.setuid(65534)
            try:
                management.connect(path)
            except PermissionError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_clients_that_say_nothing_do_not_keep_others_out_for_ever(kata):
    """Those who hang take all the places until their time is over; containerd's calls notice nothing."""
    with kata.container() as identity:
        path = management.socket_of(identity)
        hanging = [management.connect(path) for _ in range(HANGING)]
        try:
            assert kata.exec(identity, "echo", "on").out == b"on\n"
            refused = 0

            def answered():
                nonlocal refused
                try:
                    return management.ask(path, "/healthz").status == 200
                except OSError:
                    refused += 1
                    return False
            harness.wait_for(answered, "a place")
            assert refused, "they took no places"
        finally:
            for client in hanging:
                client.close()


def test_a_header_without_end_is_refused(kata):
    with kata.container() as identity:
        client = management.connect(management.socket_of(identity))
        try:
            client.sendall(b"GET /state HTTP/1.1\r\nX: " + b"x" * 100_000)
            assert client.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass
        finally:
            client.close()
        assert management.ask(management.socket_of(identity), "/healthz").status == 200


@contextlib.contextmanager
def askers(path, page, count=2):
    """Processes that ask for the page without a pause."""
    pids = []
    try:
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(OSError):
                    while True:
                        management.ask(path, page)
                os._exit(1)
            pids.append(pid)
        yield
        assert all(os.waitpid(pid, os.WNOHANG) == (0, 0) for pid in pids), "an asker has ended"
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


@pytest.mark.parametrize("page", ["/metrics", "/state"])
def test_askers_do_not_slow_the_calls_of_containerd(kata, page):
    """States in a row, beside two clients that ask this pod's shim without a pause, and beside two that ask another's."""
    with kata.container() as identity, kata.container() as other, Shim.of(kata.bundle(identity)) as shim:
        times = {identity: [], other: []}
        for _ in range(3):
            for asked, took in times.items():
                with askers(management.socket_of(asked), page):
                    for _ in range(200):
                        began = time.monotonic()
                        shim.call("State", {1: identity})
                        took.append(time.monotonic() - began)
        figures_of = {asked: [1000 * sorted(took)[len(took) * part // 100] for part in (50, 99)] for asked, took in times.items()}
        print(f"State beside askers for {page}, median and 99 of 100: of its own shim {figures_of[identity]} ms, "
              f"of another {figures_of[other]} ms")
        # A page that held the shim's thread for its own time, or for the guest's answer, would be far beyond.
        assert figures_of[identity][0] < 20 * figures_of[other][0]
