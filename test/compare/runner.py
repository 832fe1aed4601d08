# SPDX-License-Identifier: Apache-2.0
"""Runs cases on both sides, a few containers at a time, and collects the texts."""
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import time
import traceback

import harness
from side import Side

RUNC = "io.containerd.runc.v2"
KATA = "io.containerd.kata.v2"
# Two boots and a runc at a time: more only wait for each other on a small machine.
AT_ONCE = 3
SHARED_MAX = 60  # cases of one container: bounds what a container that dies early takes with it
FAILED = "THE CASE FAILED: "


@contextlib.contextmanager
def both_sides(prefix, probe, runtimes=(RUNC, KATA)):
    """A containerd of our own and the two sides of it. At the end nothing may be left of the containers."""
    token = f"kt{os.getpid()}z"
    containerd = harness.Containerd(f"/run/{token}", prefix, token)
    containerd.wrapper = ("prlimit", "--core=unlimited:unlimited")  # as its unit has it
    containerd.start()
    try:
        Side.make_image(containerd, probe)
        sockets = containerd.shim_sockets()
        sides = [Side.of(containerd, runtime, letter) for runtime, letter in zip(runtimes, "rk")]
        try:
            yield sides
        finally:
            for side in sides:
                side.end_standing()
        left = containerd.wait_clean(sockets)
        if left:
            containerd.force_clean()
            raise AssertionError("left behind:\n  " + "\n  ".join(left))
    finally:
        containerd.stop()
        shutil.rmtree(containerd.directory, ignore_errors=True)


def groups_of(cases):
    """Lists of cases that run together."""
    groups = collections.defaultdict(list)
    alone = []
    for case in cases:
        if case.shared:
            groups["script", case.flags, case.edit].append(case)
        elif case.exec_flags is not None:
            groups["exec", case.flags, case.edit].append(case)
        else:
            alone.append([case])
    shared = [group[i:i + SHARED_MAX] for group in groups.values() for i in range(0, len(group), SHARED_MAX)]
    return shared + alone


def run_group(side, group):
    """{name: text}. A case that raises gives a text of its own, which `has` then refuses, or the other side's differs from."""
    try:
        first = group[0]
        if first.function is not None:
            return {first.name: side.clean(first.function(side))}
        if first.exec_flags is not None:
            return side.run_execs(group)
        return side.run_shared(group) if first.shared else {first.name: side.run_own(first)}
    except Exception as error:  # pylint: disable=broad-except
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{FAILED}{type(error).__name__} at line {where.lineno} of {pathlib.Path(where.filename).name}: {side.clean(str(error))[:600]}"
        return {case.name: text for case in group}


def run(sides, cases, progress=lambda text: None):
    """[{name: text}] of each side."""
    groups = groups_of(cases)
    texts = [{}, {}]
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = {pool.submit(run_group, side, group): index for group in groups for index, side in enumerate(sides)}
        try:
            for number, job in enumerate(concurrent.futures.as_completed(jobs), 1):
                texts[jobs[job]].update(job.result())
                if number % 20 == 0 or number == len(jobs):
                    progress(f"{number} of {len(jobs)} containers after {time.monotonic() - begin:.0f} s")
        except BaseException:  # told to stop: what runs is waited for and cleaned up, the rest is not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return texts
