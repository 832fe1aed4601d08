# SPDX-License-Identifier: Apache-2.0
"""Memory that comes and goes: what a container has freed is the host's again."""
import os
import pathlib

import harness

MIB = 1 << 20
TAKEN = 200  # MiB
RETURN_SECONDS = 60  # the guest reports within some 2 s; a busy machine takes longer


def machine_memory(pid):
    """MiB that the machine's memory takes of the host's."""
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(path).startswith("/memfd:memory-backend"):
            return os.stat(path).st_blocks * 512 // MIB
    raise AssertionError(f"process {pid} has no memory of a machine")


def test_freed_memory_returns_to_the_host(kata):
    with kata.container(flags=("--mount", f"type=tmpfs,src=tmpfs,dst=/big,options=size={2 * TAKEN}m")) as identity:
        pid = kata.qemu_pids(identity)[0]
        before = machine_memory(pid)
        filled = kata.exec(identity, "dd", "if=/dev/zero", "of=/big/file", "bs=1M", f"count={TAKEN}")
        assert filled.code == 0, filled.err
        taken = machine_memory(pid)
        assert taken >= before + TAKEN * 3 // 4

        assert kata.exec(identity, "rm", "/big/file").code == 0

        harness.wait_for(lambda: machine_memory(pid) < before + TAKEN // 4, "the host's memory to come back", RETURN_SECONDS)
        # It is there again for who wants it.
        assert kata.exec(identity, "dd", "if=/dev/zero", "of=/big/file", "bs=1M", f"count={TAKEN}").code == 0
        assert machine_memory(pid) >= taken - TAKEN // 4
