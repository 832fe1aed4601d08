# SPDX-License-Identifier: Apache-2.0
"""The shim's `delete` action: for an id that never was, twice, at once, and beside a shim that lives."""
import os
import shutil
import signal
import subprocess
import time

import harness
from ttrpc_client import decode

LIMIT_SECONDS = 5  # containerd kills it then
KILLED = 137


def command(kata, identity, bundle):
    return [kata.prefix / "bin/containerd-shim-kata-v2", "-namespace", harness.NAMESPACE, "-address", kata.address,
            "-publish-binary", "/bin/false", "-id", identity, "-bundle", bundle, "delete"]


def start(kata, identity, bundle):
    environment = dict(os.environ, TTRPC_ADDRESS=kata.address + ".ttrpc")
    cwd = bundle if os.path.isdir(bundle) else "/"
    return subprocess.Popen(command(kata, identity, bundle), cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
    """The exit status in the answer; the answer is all that is printed."""
    out, err = process.communicate(timeout=harness.COMMAND_SECONDS)
    assert process.returncode == 0, err.decode()
    answer = decode(out)
    assert decode(answer[3])[1] > time.time() - harness.COMMAND_SECONDS
    return answer[2]


def test_id_that_never_was(kata):
    bundle = kata.directory / "never"
    began = time.monotonic()
    assert finish(start(kata, kata.new_id(), bundle)) == KILLED
    bundle.mkdir()
    assert finish(start(kata, kata.new_id(), bundle)) == KILLED
    print(f"two deletes of nothing: {time.monotonic() - began:.2f} s")
    bundle.rmdir()


def test_live_container_is_ended_and_again_is_fine(kata):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    bundle = kata.bundle(identity)
    kept = kata.directory / "kept"
    shutil.copytree(bundle, kept, ignore=shutil.ignore_patterns("log", "rootfs"))
    pids = kata.shim_pids(identity) + kata.qemu_pids(identity)

    began = time.monotonic()
    at_once = [start(kata, identity, kept) for _ in range(3)]
    assert [finish(process) for process in at_once] == [KILLED] * 3
    took = time.monotonic() - began

    print(f"three deletes at once: {took:.2f} s, the limit of containerd is {LIMIT_SECONDS} s")
    assert not any(os.path.exists(f"/proc/{pid}") and harness.read(f"/proc/{pid}/cmdline") for pid in pids)
    assert finish(start(kata, identity, kept)) == KILLED
    shutil.rmtree(kept)
    harness.wait_for(lambda: identity not in kata.tasks(), "containerd to forget the task")
    kata.remove(identity)


def test_stopped_shim_is_ended(kata):
    """A shim that stands still cannot answer; a caller that wants it gone gets that."""
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000")
    kept = kata.directory / "kept"
    shutil.copytree(kata.bundle(identity), kept, ignore=shutil.ignore_patterns("log", "rootfs"))
    harness.kill(kata.shim_pids(identity), signal.SIGSTOP)

    began = time.monotonic()
    assert finish(start(kata, identity, kept)) == KILLED
    print(f"delete with a stopped shim: {time.monotonic() - began:.2f} s, the limit is {LIMIT_SECONDS} s")

    shutil.rmtree(kept)
    harness.wait_for(lambda: identity not in kata.tasks(), "containerd to forget the task")
    kata.remove(identity)
