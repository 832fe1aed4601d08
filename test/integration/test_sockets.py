# SPDX-License-Identifier: Apache-2.0
"""Unix sockets of the host in a container: those that shared_sockets lists, and no others.

KATA_SOCKET_MIB is how much goes through one connection; the full size is 1024.
"""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import pytest

import harness
from changed_installation import edit, installation, one_line
from test_neighbours import annotations
from test_user_namespaces import FIRST, MAPPING

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
TOTAL_MIB = int(os.environ.get("KATA_SOCKET_MIB", "64"))


class Server:
    """At a socket of the host: what comes on a connection goes back, and its end after it."""

    def __init__(self, path, kind=socket.SOCK_STREAM):
        self.path = pathlib.Path(path)
        self.connections = []
        self.ended = 0
        self.listener = socket.socket(socket.AF_UNIX, kind)
        self.listener.bind(str(path))
        if kind != socket.SOCK_DGRAM:
            self.listener.listen(256)
            threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection):
        with contextlib.suppress(OSError):
            while data := connection.recv(MIB):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        self.ended += 1

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # which wakes who accepts
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Flags that put the guest's program at /probe."""
    path = tmp_path_factory.mktemp("probe") / "socket_probe"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", path, HERE / "socket_probe.c"], check=True)
    return "--mount", f"type=bind,src={path},dst=/probe,options=rbind:ro"


class Host:
    """A directory of the host for sockets, which go with it."""

    def __init__(self, kata):
        self.kata = kata
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sockets-", dir="/run"))
        self.servers = []

    def path(self, name):
        return self.directory / name

    def serve(self, name, kind=socket.SOCK_STREAM):
        self.path(name).parent.mkdir(exist_ok=True)
        self.servers.append(Server(self.path(name), kind))
        return self.servers[-1]

    def listing(self, *names):
        """Flags for a configuration that lists these."""
        text = ", ".join(f'"{self.path(name)}"' for name in names)
        return self.kata.configured("sockets", f"[runtime]\nshared_sockets = [{text}]\n")

    def bind(self, name, destination="/s", options="rbind:rw"):
        return "--mount", f"type=bind,src={self.path(name)},dst={destination},options={options}"

    def remove(self):
        for server in self.servers:
            server.close()
        shutil.rmtree(self.directory)


@pytest.fixture
def host(kata):
    made = Host(kata)
    yield made
    made.remove()


def talks(kata, identity, path="/s", count=1, size=8 * 1024):
    result = kata.exec(identity, "/probe", "echo", path, str(count), str(size))
    assert result.code == 0 and result.out == b"ok\n", result.err
    return True


def is_closed(kata, identity, path="/s"):
    """Whether a connection can be made, as to any socket, and ends at once."""
    result = kata.exec(identity, "/probe", "listen", path)
    assert result.code == 0, result.err
    return result.out == b"connected\nend\n"


@pytest.mark.parametrize("options", ["rbind:rw", "rbind:ro", "bind:rprivate:ro"])
def test_a_listed_socket(kata, host, program, options):
    host.serve("a.sock").path.chmod(0o640)
    flags = (*host.listing("*.sock"), *program, *host.bind("a.sock", options=options))
    with kata.container("/probe", "listen", "/s", flags=flags) as identity:
        assert kata.exec(identity, "stat", "-c", "%F %a %u:%g", "/s").out == b"socket 640 0:0\n"
        assert talks(kata, identity)
        # The container's own program as well as those that join it.
        harness.wait_for(lambda: len(host.servers[0].connections) == 2, "the program's connection")
    harness.wait_for(lambda: host.servers[0].ended == 2, "the end of all connections")


def refusal(kata, host, name, *listed):
    flags = host.listing(*listed) if listed else ()
    result = kata.run("true", flags=(*flags, *host.bind(name)))
    assert result.code != 0
    return result.err


def test_one_that_is_not_listed(kata, host):
    host.serve("a.sock")
    path = str(host.path("a.sock"))
    one_line(refusal(kata, host, "a.sock"), f'bind mount at "/s": socket "{path}"', "shared_sockets lists",
             f'can add "{path}" to it in "')
    one_line(refusal(kata, host, "a.sock", "b.sock", "*/a.sock", "a.soc"), "shared_sockets")
    assert not host.servers[0].connections


def test_links_count_as_what_they_lead_to(kata, host, program):
    host.serve("secret/a.sock")
    host.serve("b.sock")
    host.path("link.sock").symlink_to(host.path("secret/a.sock"))
    host.path("way").symlink_to(host.path("secret"))
    host.path("good").symlink_to(host.path("b.sock"))
    secret = str(host.path("secret/a.sock"))
    for name in ("link.sock", "way/a.sock"):
        one_line(refusal(kata, host, name, "*.sock", "way/*"), f'socket "{host.path(name)}", which is "{secret}"',
                 f'add "{secret}"')
    with kata.container(flags=(*host.listing("*.sock"), *program, *host.bind("good"))) as identity:
        assert talks(kata, identity)
        # Later it leads elsewhere; the socket that was allowed is gone.
        host.servers[1].close()
        host.path("b.sock").symlink_to(secret)
        assert is_closed(kata, identity)
    assert not host.servers[0].connections


def test_other_kinds_are_refused_by_name(kata, host):
    for kind in ("SOCK_DGRAM", "SOCK_SEQPACKET"):
        host.serve(kind, getattr(socket, kind))
        one_line(refusal(kata, host, kind, "*"), f'"{host.path(kind)}": it is a {kind}, and only SOCK_STREAM')


def test_a_directory_with_sockets_is_shared_as_ever(kata, host, program):
    host.serve("a.sock")
    host.path("file").write_text("text\n", encoding="utf-8")
    with kata.container(flags=(*program, *host.bind(".", "/d"))) as identity:
        assert kata.exec(identity, "cat", "/d/file").out == b"text\n"
        result = kata.exec(identity, "/probe", "listen", "/d/a.sock")
        assert result.code == 1 and "Connection refused" in result.err


def test_a_server_that_is_started_anew(kata, host, program):
    server = host.serve("a.sock")
    with kata.container(flags=(*host.listing("a.sock"), *program, *host.bind("a.sock"))) as identity:
        assert talks(kata, identity)
        command = kata.exec_command(identity, "/probe", "listen", "/s")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout.readline() == "connected\n"
            harness.wait_for(lambda: len(server.connections) == 2, "the connection")
            server.close()
            assert client.stdout.readline() == "end\n"
        assert is_closed(kata, identity)
        host.serve("a.sock")
        assert talks(kata, identity)


def test_a_failed_connection_is_told_once(kata, host, program):
    server = host.serve("a.sock")
    with kata.container(flags=(*host.listing("a.sock"), *program, *host.bind("a.sock"))) as identity:
        server.close()
        for _ in range(3):
            assert is_closed(kata, identity)
        words = (identity, "a connection to socket", str(host.path("a.sock")))
        lines = [line for line in harness.read(kata.log).splitlines() if all(word in line for word in words)]
        assert len(lines) == 1 and "no such file or directory" in lines[0], lines


def test_a_hundred_connections_at_once(kata, host, program):
    server = host.serve("a.sock")
    with kata.container(flags=(*host.listing("a.sock"), *program, *host.bind("a.sock"))) as identity:
        assert talks(kata, identity, count=100, size=64 * 1024)
    assert len(server.connections) == 100


def test_much_data_both_ways(kata, host, program):
    host.serve("a.sock")
    with kata.container(flags=(*host.listing("a.sock"), *program, *host.bind("a.sock"))) as identity:
        begin = time.monotonic()
        result = kata.exec(identity, "/probe", "echo", "/s", "1", str(TOTAL_MIB * MIB),
                           timeout=20 * harness.COMMAND_SECONDS)
        assert result.out == b"ok\n", result.err
        print(f"{TOTAL_MIB} MiB there and back: {time.monotonic() - begin:.1f} s")


def test_each_container_of_a_pod_has_its_own(kata, host, program):
    host.serve("a.sock")
    host.serve("b.sock")
    pod, first, second = (kata.new_id(word) for word in ("pod", "one", "two"))
    with kata.container(identity=pod, flags=(*annotations("sandbox", pod), *host.listing("*.sock"))):
        (shim, ) = kata.shim_pids(pod)
        before = len(os.listdir(f"/proc/{shim}/fd"))
        with kata.container("/probe", "listen", "/a", identity=first,
                            flags=(*annotations("container", pod), *program, *host.bind("a.sock", "/a"))):
            flags = (*program, *host.bind("b.sock", "/b"), *host.bind("a.sock", "/a"))
            with kata.container("/probe", "listen", "/b", identity=second,
                                flags=(*annotations("container", pod), *flags)):
                harness.wait_for(lambda: [len(s.connections) for s in host.servers] == [1, 1], "both programs")
                assert talks(kata, first, "/a") and talks(kata, second, "/a") and talks(kata, second, "/b")
                assert [len(server.connections) for server in host.servers] == [3, 2]
                assert kata.exec(first, "ls", "/b").code != 0
            # What the second had ends with it, and nothing else.
            harness.wait_for(lambda: host.servers[1].ended == 2, "the end of the second's connections")
            assert host.servers[0].ended == 2
            assert talks(kata, first, "/a")
        harness.wait_for(lambda: host.servers[0].ended == 4, "the end of the first's connections")
        harness.wait_for(lambda: len(os.listdir(f"/proc/{shim}/fd")) <= before, "the shim's descriptors to go")


def test_a_deleted_container_takes_connections_that_a_server_keeps(kata, host, program):
    """A server that does not answer to the end of its client's direction."""
    path = host.path("a.sock")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(harness.COMMAND_SECONDS)
        pod = kata.new_id("pod")
        with kata.container(identity=pod, flags=(*annotations("sandbox", pod), *host.listing("*.sock"))):
            with kata.container("/probe", "listen", "/s",
                                flags=(*annotations("container", pod), *program, *host.bind("a.sock"))):
                connection = listener.accept()[0]
                connection.settimeout(harness.COMMAND_SECONDS)
            assert connection.recv(1) == b""
            with pytest.raises(OSError):
                for _ in range(100):
                    connection.send(b"x")
                    time.sleep(0.05)


def test_a_user_namespace(kata, host, program, tmp_path):
    host.serve("mine.sock").path.chmod(0o600)
    os.chown(host.path("mine.sock"), FIRST, FIRST)
    host.serve("roots.sock").path.chmod(0o600)
    for path in (tmp_path, *tmp_path.parents):
        if str(path).startswith("/tmp/"):
            path.chmod(0o755)
    probe = kata.rootfs_of(FIRST, tmp_path / "rootfs") / "probe"
    shutil.copy(program[1].split("src=")[1].split(",")[0], probe)
    spec = kata.default_spec()
    spec["root"] = {"path": str(probe.parent)}
    spec["linux"]["namespaces"].append({"type": "user"})
    spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = MAPPING
    for name in ("mine", "roots"):
        spec["mounts"].append({"type": "bind", "source": str(host.path(f"{name}.sock")), "destination": f"/{name}",
                               "options": ["rbind"]})
    # Its owner is shown by the container's own mapping.
    spec["mounts"].append({"type": "bind", "source": str(host.path("roots.sock")), "destination": "/mapped",
                           "options": ["rbind", "idmap"]})
    spec["process"]["args"] = ["sh", "-c", "stat -c '%u %a' /mine /roots /mapped; /probe echo /mine 1 800; "
                               "/probe echo /mapped 1 800; /probe echo /roots 1 800 2>&1"]
    # ctr of containerd 2 takes a user namespace and a configuration's path together for runc's options.
    pattern = str(host.path("*.sock"))
    with installation(kata, edit(r"^shared_sockets = .*$", f"shared_sockets = ['{pattern}']")) as other:
        result = other.run_config(spec)

    assert result.out.decode().splitlines()[:6] == [
        "0 600", "65534 600", "0 600", "ok", "ok", "connecting: Permission denied"], result


def test_a_pod_cannot_list_one_itself(kata, host):
    host.serve("a.sock")
    name = "io.katacontainers.config.runtime.shared_sockets"
    result = kata.run("true", flags=("--annotation", f"{name}={host.path('a.sock')}", *host.bind("a.sock")))
    one_line(result.err, f'annotation "{name}": the operator alone says it, by shared_sockets in [runtime]')
