# SPDX-License-Identifier: Apache-2.0
"""kata-monitor's page as a browser shows it: test/run page. Its pictures are for a person: build/page/*.png."""
import html.parser
import os
import pathlib
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import harness  # noqa: E402
import management  # noqa: E402
from conftest import kata, prefix, session_containerd  # noqa: E402,F401
from test_monitor import monitor  # noqa: E402,F401

OUT = harness.REPOSITORY / "build/page"
# The page asks again every 5 s: the second answer has the load. The browser's clock is virtual.
BUDGET_MS = 12000


class Cells(html.parser.HTMLParser):
    """The texts of the table's body, a list for each row, and those of all pictures."""

    def __init__(self):
        super().__init__()
        self.rows, self.pictures, self._open = [], [], []

    def handle_starttag(self, tag, attrs):
        self._open.append(tag)
        if tag == "tr" and "tbody" in self._open:
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if "td" in self._open:
            self.rows[-1][-1] += data
        if "svg" in self._open and "text" in self._open:
            self.pictures.append(data)


def browse(url, *flags):
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
               f"--virtual-time-budget={BUDGET_MS}", *flags, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def test_a_person_sees_the_pods_and_their_starts(kata, monitor):  # noqa: F811
    OUT.mkdir(parents=True, exist_ok=True)
    with kata.container("sh", "-c", "while :; do :; done") as busy, kata.container() as idle:
        url = f"http://127.0.0.1:{monitor.port}/#{management.directory_of(busy).name}"
        seen = browse(url, "--dump-dom")
        cells = Cells()
        cells.feed(seen.stdout)
        rows = {row[0]: row for row in cells.rows}
        for identity in (busy, idle):
            row = rows[identity]
            assert row[1] == management.directory_of(identity).name[:20] and row[2:5] == ["running", "1", "1"], row
            assert row[5].endswith("MiB") and row[6].endswith("MiB") and row[10].endswith(" ms") and row[11][-1] in "sm", row
        loads = {identity: float(rows[identity][7].split()[0]) for identity in (busy, idle)}
        assert loads[busy] > loads[idle], loads
        assert "agent ready" in cells.pictures and "container started" in cells.pictures and any(
            text.endswith(" ms") for text in cells.pictures)

        picture = OUT / "pods.png"
        browse(url, f"--screenshot={picture}", "--window-size=1400,1100")
        head = picture.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", head[16:24]) == (1400, 1100)
        print(f"look at {picture}")


def test_a_pod_cannot_put_markup_into_the_page(kata, monitor):  # noqa: F811
    """What a pod is named is its user's choice."""
    directory = harness.KATA_RUN / f"{kata.token}-name"
    directory.mkdir()
    name = "<img src=x onerror=document.title='taken'>"
    program = f"""
import http.server, json, os, socketserver
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): daemon_threads = True
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        state = {{"pod": {name!r}, "pod_namespace": "n", "state": "running", "machine": {{}}, "containers": []}}
        page = json.dumps([] if self.path == "/timeline" else state).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
    def log_message(self, *words): pass
    def address_string(self): return ""
Server({str(directory / "http.sock")!r}, Answer).serve_forever()
"""
    server = subprocess.Popen([sys.executable, "-c", program])
    try:
        harness.wait_for((directory / "http.sock").exists, "the socket")
        seen = browse(f"http://127.0.0.1:{monitor.port}/", "--dump-dom").stdout
        assert "n/&lt;img src=x" in seen and "<title>Pods of this node</title>" in seen and "<img" not in seen
    finally:
        server.kill()
        server.wait()
        (directory / "http.sock").unlink(missing_ok=True)
        os.rmdir(directory)
