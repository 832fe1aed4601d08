# SPDX-License-Identifier: Apache-2.0
"""The channel between host and agent: every boot answers, calls of all sizes do not stall, the host hangs up in the
middle of calls and comes back. Short here; KATA_CHANNEL_BOOTS and KATA_CHANNEL_CALLS (what `test/run channel` sets)
make it long. The seed is printed; KATA_CHANNEL_SEED repeats it."""
import os
import pathlib
import random
import subprocess

import pytest

import harness

BOOTS = int(os.environ.get("KATA_CHANNEL_BOOTS", "3"))
CALLS = int(os.environ.get("KATA_CHANNEL_CALLS", "600"))
RECONNECTS = 40
SEED = int(os.environ.get("KATA_CHANNEL_SEED", "0")) or random.randrange(1, 1 << 32)
BOOT_SECONDS = 180
CALL_SECONDS = 2


@pytest.fixture(scope="module")
def soak(prefix):
    program = pathlib.Path(os.environ.get("KATA_CHANNEL_SOAK", harness.REPOSITORY / "build/ci/test/channel_soak"))
    assert program.exists(), f"no {program}; run test/run integration"

    def run(calls, reconnects, seed):
        """In a /run of its own, which must be empty afterwards."""
        script = 'mount -t tmpfs -o mode=755 none /run && "$@"; code=$?; find /run -mindepth 1; exit $code'
        result = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", program, prefix, str(calls), str(reconnects), str(seed)],
            capture_output=True, text=True, timeout=BOOT_SECONDS + CALL_SECONDS * calls)
        print(result.stdout, end="")
        assert result.returncode == 0, f"seed {seed}: {result.stdout}{result.stderr}"
        left = [line for line in result.stdout.splitlines() if line.startswith("/run/")]
        # The directory of all machines stays, and what libvirt makes once for a host.
        left = [line for line in left if line != "/run/kata-vm" and not line.startswith("/run/libvirt")]
        assert not left, left
        assert not harness.processes("channel-soak"), "a process is left"

    return run


def test_every_boot_answers(soak):
    for number in range(BOOTS):
        soak(4, 0, SEED + number)


def test_calls_do_not_stall_and_the_host_comes_back(soak):
    soak(CALLS, RECONNECTS, SEED)
