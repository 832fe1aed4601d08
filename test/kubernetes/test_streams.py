# SPDX-License-Identifier: Apache-2.0
"""What kubectl carries to and from a container: logs, exec, attach, cp, port-forward."""
import contextlib
import os
import subprocess
import urllib.request

import harness
from cluster import WAIT_SECONDS
from space import container, pod, shell

BIG = 4 << 20


def test_logs(space):
    space.run(pod("p", shell("c", "echo first; echo wrong >&2; while [ ! -e /go ]; do sleep 0.1; done; echo later; "
                             "sleep 100000")))
    assert sorted(space.logs("p").split()) == ["first", "wrong"]
    with following(space, "p") as follower:
        space.output("p", "touch", "/go")
        space.until(lambda: b"later" in follower.seen(), "the line in the log that is followed")
    assert space.logs("p", "--tail=1") == "later\n"


def test_logs_of_the_run_before(space):
    script = "echo run $(ls /v); [ -e /v/1 ] || { touch /v/1; exit 1; }; sleep 100000"
    space.apply(pod("p", shell("c", script, volumeMounts=[{"name": "v", "mountPath": "/v"}]),
                    volumes=[{"name": "v", "emptyDir": {}}]))
    space.wait_run("p", 1)
    assert space.logs("p", "--previous") == "run\n"
    assert space.logs("p") == "run 1\n"


def test_a_big_log(space):
    assert space.run_to_end(pod("p", shell("c", "seq 1 200000"), restartPolicy="Never")) == "Succeeded"
    assert space.logs("p") == "".join(f"{n}\n" for n in range(1, 200001))


def test_exec(space):
    space.run(pod("p", container("c"), container("side")))
    answer = space.exec("p", "sh", "-c", "echo out; echo err >&2; exit 7", container_name="side")
    assert (answer.code, answer.out) == (7, b"out\n") and answer.err.startswith("err\n")
    data = os.urandom(BIG)
    assert space.exec("p", "cat", stdin=data).out == data
    assert space.exec("p", "wc", "-c", stdin=b"").out == b"0\n"
    assert "no such file" in space.exec("p", "/not/there").err.lower()


def test_exec_on_a_terminal(space):
    space.run(pod("p", container("c")))
    terminal = harness.Terminal(space.command("exec", "-it", "p", "--", "sh"), rows=33, columns=77)
    terminal.expect("# ", WAIT_SECONDS)
    terminal.send("stty size; tty\n")
    terminal.expect("33 77", WAIT_SECONDS)
    terminal.expect("/dev/pts/", WAIT_SECONDS)
    terminal.send("exit 9\n")
    assert terminal.close() == 9


def test_attach(space):
    """A line that goes in comes out; the container lives on when the client goes."""
    script = "while read -r line; do echo got $line; done; echo end; exec sleep 100000"
    space.run(pod("p", shell("c", script, stdin=True)))
    with subprocess.Popen(space.command("attach", "-i", "p"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        client.stdin.write(b"one\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"got one\n"
        client.kill()
    space.run(pod("once", shell("c", script, stdin=True, stdinOnce=True)))
    assert b"got two\ngot three\nend\n" in attach_once(space, "once", b"two\nthree\n")
    assert space.container_status("p")["restartCount"] == 0


def attach_once(space, name, data):
    """Until what `data` brings is there; the container goes on, and with it the attach."""
    with subprocess.Popen(space.command("attach", "-i", name), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        client.stdin.write(data)
        client.stdin.close()
        seen = b""
        while b"end\n" not in seen and (line := client.stdout.readline()):
            seen += line
        client.kill()
    return seen


def test_copy(space, tmp_path):
    space.run(pod("p", container("c")))
    tree = tmp_path / "there"
    tree.mkdir()
    (tree / "big").write_bytes(os.urandom(BIG))
    (tree / "word").write_text("word\n", encoding="utf-8")
    for source, target in ((str(tree), "p:/copied"), ("p:/copied", str(tmp_path / "back"))):
        answer = space.kubectl("cp", source, target)
        assert answer.code == 0, answer.err
    assert space.output("p", "cat", "/copied/word") == "word"
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == {
        path.name: path.read_bytes() for path in tree.iterdir()}


def test_port_forward(space):
    space.run(pod("p", shell("c", "mkdir /www; echo forwarded > /www/word; exec httpd -f -p 8080 -h /www",
                             readinessProbe={"httpGet": {"path": "/word", "port": 8080}, "periodSeconds": 1})))
    with subprocess.Popen(space.command("port-forward", "pod/p", "18080:8080"), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as client:
        try:
            assert b"Forwarding from" in client.stdout.readline()
            for _ in range(3):
                with urllib.request.urlopen("http://127.0.0.1:18080/word", timeout=WAIT_SECONDS) as answer:
                    assert answer.read() == b"forwarded\n"
        finally:
            client.kill()


class Follower:
    def __init__(self, process):
        self.process = process
        self.text = b""
        os.set_blocking(process.stdout.fileno(), False)

    def seen(self):
        self.text += self.process.stdout.read() or b""
        return self.text


@contextlib.contextmanager
def following(space, name):
    with subprocess.Popen(space.command("logs", "--follow", name), stdout=subprocess.PIPE) as process:
        try:
            yield Follower(process)
        finally:
            process.kill()
