# SPDX-License-Identifier: Apache-2.0
"""The installed kernel and another one, by turns: raw boots, and the memory in use in an idle guest."""
import os
import shutil
import statistics
import time

from changed_installation import installation
from measure_memory import guest_used_mb
from raw_machine import RawMachine


def timed(work):
    began = time.monotonic()
    result = work()
    return time.monotonic() - began, result


def compare(kata, kernel, pairs):
    """The installed kernel and another one, by turns."""
    installed = kata.prefix / "share/kata-containers/vmlinux"
    with kata.container() as identity:
        raw = RawMachine(kata.qemu_pids(identity)[0], kata.directory)
        used = [guest_used_mb(kata, identity)]
    with installation(kata, lambda prefix: shutil.copy(kernel, prefix / "share/kata-containers/vmlinux")) as other:
        with other.container() as identity:
            used.append(guest_used_mb(other, identity))
    walls, cpus = ([], []), ([], [])
    for _ in range(pairs):
        for which, path in enumerate((installed, kernel)):
            raw.use_kernel(path)
            wall, cpu = timed(raw.until_agent_opens_its_port)
            walls[which].append(wall)
            cpus[which].append(cpu)
    print(f"{'what':<48} {'installed':>12} {'other':>12}")
    for what, values in ((f"raw boot, CPU ms of QEMU, median of {pairs}", cpus), ("  the least", None),
                         (f"raw boot, ms, median of {pairs}", walls)):
        pick = statistics.median if values else min
        print(f"{what:<48} " + " ".join(f"{1000 * pick(v):>12.0f}" for v in values or cpus))
    print(f"{'guest memory used, one idle container, MB':<48} " + " ".join(f"{mb:>12.1f}" for mb in used))
    print(f"{'size of the file, MB':<48} " + " ".join(f"{os.stat(p).st_size / 1e6:>12.1f}" for p in (installed, kernel)))
