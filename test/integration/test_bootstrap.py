# SPDX-License-Identifier: Apache-2.0
"""The shim as containerd 2.3 and later starts it: BootstrapParams on standard input. No containerd is in between."""
import contextlib
import json
import os
import shutil
import subprocess

import pytest

import harness
import ttrpc_client

DEBUG = -4  # a log level; negative on purpose: it is ten bytes long
OPTIONS_TYPE = "runtimeoptions.v1.Options"
# Long enough that its length is more than one byte.
CONFIG_BODY = "#" + " long" * 50 + '\n[hypervisor.qemu]\nkernel_params = "test.word=bootstrap"\n'


class Bundle:
    """A bundle with the pipes of a caller, and the shim's command line for it."""

    def __init__(self, kata, spec):
        self.kata = kata
        self.identity = kata.new_id()
        self.path = kata.directory / "bootstrap" / self.identity
        self.path.mkdir(parents=True)
        (self.path / "config.json").write_text(json.dumps(spec), encoding="utf-8")
        for name in ("log", "stdout"):
            os.mkfifo(self.path / name)
        self.log = os.open(self.path / "log", os.O_RDWR | os.O_NONBLOCK)
        self.stdout = os.open(self.path / "stdout", os.O_RDONLY | os.O_NONBLOCK)

    def shim(self, action, stdin=b""):
        command = [self.kata.prefix / "bin/containerd-shim-kata-v2", "-namespace", harness.NAMESPACE, "-address",
                   self.kata.address, "-publish-binary", "/usr/bin/containerd", "-id", self.identity, "-bundle", self.path,
                   action]
        environment = dict(os.environ, TTRPC_ADDRESS=f"{self.kata.address}.ttrpc")
        done = subprocess.run(command, cwd=self.path, env=environment, input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=harness.COMMAND_SECONDS, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def bootstrap_params(self, socket_directory, options):
        any_options = {1: OPTIONS_TYPE, 2: options}
        return ttrpc_client.encode({
            1: self.identity, 2: harness.NAMESPACE, 3: DEBUG, 4: "2.3.0", 5: f"{self.kata.address}.ttrpc",
            6: self.kata.address, 7: "/usr/bin/containerd", 8: {1: any_options}, 9: str(socket_directory)})

    def read_stdout(self):
        """Until its end; the descriptor does not block so that it could be opened before there was a writer."""
        os.set_blocking(self.stdout, True)
        out = b""
        while data := os.read(self.stdout, 65536):
            out += data
        return out

    def remove(self):
        for descriptor in (self.log, self.stdout):
            os.close(descriptor)
        shutil.rmtree(self.path.parent)


@contextlib.contextmanager
def bundle_of(kata, *command):
    bundle = Bundle(kata, kata.default_spec(*command))
    try:
        yield bundle
    finally:
        bundle.remove()


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_container_of_a_shim_started_with_bootstrap_params(kata, version):
    sockets = kata.directory / "sockets"
    with bundle_of(kata, "sh", "-c", "cat /proc/cmdline; exit 7") as bundle:
        identity = {1: bundle.identity}
        answer = bundle.shim("start", bundle.bootstrap_params(sockets, {3: CONFIG_BODY}))
        address = answer.decode().strip()
        assert address.startswith(f"unix://{sockets}/")

        with ttrpc_client.Shim(address.removeprefix("unix://")) as shim:
            def call(method, fields):
                return shim.call(method, fields, service=f"containerd.task.{version}.Task")

            assert call("Connect", identity)[1] in kata.shim_pids(bundle.identity)
            with pytest.raises(ttrpc_client.CallError) as unknown:
                call("State", identity)
            assert unknown.value.code == ttrpc_client.NOT_FOUND
            created = call("Create", {**identity, 2: str(bundle.path), 6: str(bundle.path / "stdout")})
            assert call("Start", identity)[1] == created[1]
            assert call("Wait", identity)[1] == 7
            assert b"test.word=bootstrap" in bundle.read_stdout()
            assert call("Delete", identity)[2] == 7
            call("Shutdown", identity)
            assert shim.wait_closed()

        deleted = ttrpc_client.decode(bundle.shim("delete"))
        assert deleted[2] == 137
        harness.wait_for(lambda: not kata.shim_pids(bundle.identity), "the shim to end")
        assert not list(sockets.iterdir())


def test_shim_that_is_shut_down_before_any_container_leaves_nothing(kata):
    sockets = kata.directory / "sockets"
    with bundle_of(kata, "true") as bundle:
        address = bundle.shim("start", bundle.bootstrap_params(sockets, {})).decode().strip()
        with ttrpc_client.Shim(address.removeprefix("unix://")) as shim:
            shim.call("Shutdown", {1: bundle.identity}, service="containerd.task.v3.Task")
            assert shim.wait_closed()
        bundle.shim("delete")

        harness.wait_for(lambda: not kata.shim_pids(bundle.identity), "the shim to end")
        assert not list(sockets.iterdir())
