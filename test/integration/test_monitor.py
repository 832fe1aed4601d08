# SPDX-License-Identifier: Apache-2.0
"""kata-monitor: the pods of a node under one address, real ones and very many."""
import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time

import pytest
from prometheus_client.openmetrics import parser

import harness
import management

MANY = 500


@pytest.fixture
def monitor(prefix):
    """One that runs; the value asks it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([prefix / "bin/kata-monitor", "--listen", f"127.0.0.1:{port}"], stderr=subprocess.PIPE)

    def ask(page, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request(method, page)
            response = connection.getresponse()
            return management.Page(response.status, response.headers["Content-Type"], response.read().decode())
        finally:
            connection.close()

    def answers():
        assert process.poll() is None, process.stderr.read()
        with contextlib.suppress(OSError):
            return ask("/healthz").status == 200
        return False
    try:
        harness.wait_for(answers, "the monitor")
        ask.port = port
        yield ask
    finally:
        process.terminate()
        process.communicate(timeout=60)


def samples(text):
    """{(sample, sandbox): [(labels, value)]}"""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            found.setdefault((sample.name, labels.pop("sandbox", "")), []).append((labels, sample.value))
    return found


def test_all_pods_are_in_one_page(kata, monitor):
    with kata.container() as one, kata.container() as other:
        names = [management.directory_of(identity).name for identity in (one, other)]
        page = monitor("/metrics")
        assert page.type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        found = samples(page.body)
        for name, identity in zip(names, (one, other)):
            assert found["kata_pod_running", name] == [({}, 1)]
            assert found["kata_container_processes", name] == [({"container": identity}, 1)]
        assert found["kata_monitor_sandboxes", ""][0][1] >= 2
        pods = {pod["sandbox"]: pod for pod in json.loads(monitor("/pods").body)}
        assert pods[names[0]]["state"]["id"] == one and pods[names[0]]["timeline"][0]["step"] == "shim started"
        assert "kata_guest_answers 1\n" in pods[names[1]]["metrics"]


def test_a_dead_shim_is_counted_and_hides_nobody(kata, monitor):
    path = harness.KATA_RUN / f"{kata.token}-dead"
    path.mkdir()
    try:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path / "http.sock"))
        with kata.container() as identity:
            found = samples(monitor("/metrics").body)
            assert ({"answers": "no"}, 1) in found["kata_monitor_sandboxes", ""]
            assert found["kata_pod_running", management.directory_of(identity).name] == [({}, 1)]
            dead_pod = [pod for pod in json.loads(monitor("/pods").body) if pod["sandbox"] == path.name]
            assert "nobody listens" in dead_pod[0]["error"]
    finally:
        shutil.rmtree(path)


def test_it_changes_nothing_and_is_on_the_loopback(kata, monitor, prefix):
    with kata.container() as identity:
        name = management.directory_of(identity).name
        assert monitor("/metrics", "POST").status == 404 and monitor("/log-level", "PUT").status == 404
        assert "GET /metrics\n" in monitor("/nothing").body
        page = monitor("/")
        assert page.type.startswith("text/html") and "Content-Security-Policy" in page.body and name not in page.body
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [prefix / "bin/kata-monitor", "--listen", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, f'kata-monitor: listening on "{address}": ' in done.stderr) == (1, True)
    listening = pathlib.Path("/proc/net/tcp").read_text(encoding="utf-8")
    assert f" 0100007F:{monitor.port:04X} " in listening and f" 00000000:{monitor.port:04X} " not in listening


@contextlib.contextmanager
def simulated(token, count, page):
    """So many sockets that answer with that page; the value counts what they were asked."""
    asked = [0]

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked[0] += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(page) + page)
        await writer.drain()
        writer.close()

    servers = []
    directories = [harness.KATA_RUN / f"{token}-many{number}" for number in range(count)]
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def serve():
        for directory in directories:
            directory.mkdir(mode=0o711)
            servers.append(await asyncio.start_unix_server(answer, str(directory / "http.sock")))
        ready.set()

    def run():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()
        for server in servers:
            server.close()
        loop.close()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(60)
        yield asked
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)


def test_very_many_pods(kata, monitor):
    """As many as a large node has. The page of a real pod, from sockets that stand for shims."""
    with kata.container() as identity:
        page = management.ask(management.socket_of(identity), "/metrics").body.encode()
        with simulated(kata.token, MANY, page) as asked:
            began = time.monotonic()
            text = monitor("/metrics").body
            took = time.monotonic() - began
            assert asked[0] == MANY
            running = [line for line in text.splitlines() if line.startswith("kata_pod_running{")]
            assert len(running) >= MANY + 1 and len(set(running)) == len(running)
            inside = [float(line.split()[1]) for line in text.splitlines() if line.startswith("kata_monitor_scrape_seconds ")]
            print(f"a scrape of {MANY + 1} pods, {len(text) >> 10} KiB: {took:.2f} s, {inside[0]:.2f} s of them the monitor's")
            assert text.endswith("# EOF\n")


def test_requests_beyond_its_limit_are_told_to_come_again(kata, monitor):
    """A shim that does not answer holds up who asks; those who come meanwhile get an answer at once."""
    path = harness.KATA_RUN / f"{kata.token}-silent"
    path.mkdir()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path / "http.sock"))
        silent.listen(64)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(monitor("/metrics").status)) for _ in range(8)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            shutil.rmtree(path)
    assert sorted(set(answers)) == [200, 503] and answers.count(200) >= 4, answers
    assert monitor("/metrics").status == 200
    assert not os.path.exists(path)
