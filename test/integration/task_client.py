# SPDX-License-Identifier: Apache-2.0
"""Execs through a shim's Task service without containerd or ctr around it: for measuring, and for stdio whose fifos the
caller holds.
"""
import contextlib
import json
import os
import pathlib
import select
import tempfile
import time

from ttrpc_client import ANSWER_SECONDS, Shim, address_in, encode

PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"


class TaskClient(Shim):
    def __init__(self, bundle):
        bundle = pathlib.Path(bundle)
        super().__init__(address_in(bundle).removeprefix("unix://"))
        self.process = json.loads((bundle / "config.json").read_text(encoding="utf-8"))["process"]


class Exec:
    """One exec with fifos of its own, as ctr makes it. Its ends of them are stdin, stdout and stderr."""

    def __init__(self, client, container, exec_id, *command, terminal=False):
        self.client = client
        self.key = {1: container, 2: exec_id}
        self.terminal = terminal
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{container}-"))
        self.paths = [str(self.directory / name) for name in ("stdin", "stdout", "stderr")]
        for path in self.paths:
            os.mkfifo(path, 0o600)
        self.stdout, self.stderr = (os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in self.paths[1:])
        # Opened through a reader of its own: a process may have ended, and the shim closed its end, before we come.
        reader = os.open(self.paths[0], os.O_RDONLY | os.O_NONBLOCK)
        self.stdin = os.open(self.paths[0], os.O_WRONLY)
        os.close(reader)
        spec = dict(client.process, args=list(command), terminal=terminal)
        self.spec = encode({1: PROCESS_TYPE, 2: json.dumps(spec)})
        self.waiting = None

    def start(self):
        stdin, stdout, stderr = self.paths
        request = {**self.key, 3: int(self.terminal), 4: stdin, 5: stdout, 7: self.spec}
        if not self.terminal:
            request[6] = stderr
        self.client.call("Exec", request)
        self.waiting = self.client.begin("Wait", self.key)
        self.client.call("Start", self.key)
        return self

    def wait(self):
        """The exit status."""
        return self.client.finish(self.waiting).get(1, 0)

    def kill(self, number=9):
        self.client.call("Kill", {**self.key, 3: number})

    def delete(self):
        self.client.call("Delete", self.key)
        self.close()

    def close_stdin(self):
        """The process sees the end of its input."""
        os.close(self.stdin)
        self.stdin = None
        self.client.call("CloseIO", {**self.key, 3: 1})

    def close(self):
        for descriptor in (self.stdin, self.stdout, self.stderr):
            if descriptor is not None:
                os.close(descriptor)
        for path in self.paths:
            os.unlink(path)
        self.directory.rmdir()

    def read(self, size=1 << 20, seconds=ANSWER_SECONDS):
        """Some bytes of stdout; none at its end, or when none come in time."""
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return b""
            with contextlib.suppress(BlockingIOError):
                return os.read(self.stdout, size)

    @staticmethod
    def read_now(descriptor):
        """What is there already."""
        with contextlib.suppress(BlockingIOError):
            return os.read(descriptor, 1 << 20)
        return b""
