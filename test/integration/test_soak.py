# SPDX-License-Identifier: Apache-2.0
"""A few cycles of test/soak/run, so that it keeps working; people run it for longer."""
import subprocess

import harness

CYCLES = 6
SEED = 4  # draws several of the faults


def test_a_few_cycles_leave_nothing(prefix):
    done = subprocess.run([harness.REPOSITORY / "test/soak/run", "--prefix", prefix, "--cycles", str(CYCLES), "--seed",
                           str(SEED)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=4 * harness.COMMAND_SECONDS)

    print(done.stdout.decode())
    assert done.returncode == 0
