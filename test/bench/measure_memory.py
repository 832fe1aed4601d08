# SPDX-License-Identifier: Apache-2.0
"""What a pod costs the host's memory and what is in use in the guest, for one container and for each further one; and many
pods at once.
"""
import concurrent.futures
import re
import sys
import time

import harness
from measure_starts import InPod
from subjects import pss_mb

FURTHER = 8
SMALL_MIB = 64
POD_MB = 200  # more than any subject's pod takes
SETTLE_SECONDS = 2  # the shim gives back what only the start needed


def guest_used_mb(engine, identity):
    result = engine.exec(identity, "cat", "/proc/meminfo")
    assert result.code == 0, result.err
    field = dict(re.findall(r"^(\w+):\s+(\d+)", result.out.decode(), re.MULTILINE))
    # Not MemAvailable: it counts what the agent has the kernel keep free (vm.min_free_kbytes), for which the host gives no page.
    free = ("MemFree", "Buffers", "Cached", "SReclaimable")
    return (int(field["MemTotal"]) + int(field["Shmem"]) - sum(int(field[name]) for name in free)) / 1000


def parts(subject, identity):
    """{what: pids} of a pod; only a machine's pod has all."""
    own = {"shim": subject.engine.shim_pids(identity), "QEMU": subject.engine.qemu_pids(identity),
           "virtiofsd": [pid for pid, line in harness.processes(identity).items() if line.split()[0].endswith("/virtiofsd")]}
    return {what: pids for what, pids in own.items() if pids}


def one_pod(bench):
    for subject in bench.starters.values():
        with subject.container() as identity:
            time.sleep(SETTLE_SECONDS)
            for what, pids in parts(subject, identity).items():
                bench.add(f"{what} of an idle pod, PSS", "MB", subject.name, pss_mb(pids), "<= 8 MB" if what == "shim" else "")
                bench.add(f"{what} of an idle pod, private", "MB", subject.name, pss_mb(pids, "Private"), "<= 6 MB" if what == "shim" else "")
            if subject.name == bench.mine:
                bench.add("guest's memory in use, one idle container", "MB", subject.name, guest_used_mb(subject.engine, identity), "<= 22 MB")


def small_machine(bench):
    flags = bench.kata.configured("small", f"[hypervisor.qemu]\ndefault_memory = {SMALL_MIB}\n")
    runs = bench.kata.run("true", flags=flags).code == 0
    bench.add(f"a machine of {SMALL_MIB} MiB runs a busybox", "1: yes", bench.mine, float(runs), "1")


def further_containers(bench):
    for subject in bench.subjects.values():
        with InPod(subject).running() as pod:
            made = [pod.make(0)]
            pod.start(*made[0])
            time.sleep(SETTLE_SECONDS)
            shims = subject.engine.shim_pids(pod.pod)
            before = pss_mb(shims, "Private")
            for number in range(1, FURTHER + 1):
                made.append(pod.make(number))
                pod.start(*made[-1])
            time.sleep(SETTLE_SECONDS)
            more = (pss_mb(shims, "Private") - before) / FURTHER
            bench.add("shim, private, each further container", "KiB", subject.name, 1000 / 1.024 * more, "<= 100 KiB")
            for identity, _ in made:
                pod.end(identity)


def has_room_for(count):
    kilobytes = re.search(r"^MemAvailable:\s+(\d+)", harness.read("/proc/meminfo"), re.MULTILINE).group(1)
    return count * POD_MB <= int(kilobytes) / 1000


def many_pods(bench, count):
    """`count` pods that are asked for together: until the last runs, what each costs, until the last is gone."""
    what = f"{count} pods at once"
    for subject in bench.starters.values():
        identities = [subject.new_id() for _ in range(count)]
        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            errors = []

            def start(identity, subject=subject, errors=errors):
                try:
                    subject.start(identity=identity)
                except AssertionError as error:
                    errors.append(str(error).split("\n", maxsplit=1)[0])
            wall, cpu = subject.measured(lambda: list(threads.map(start, identities)))
            if errors:
                bench.add(f"{what}, of which do not start", "pods", subject.name, len(errors))
                print(f"{what}, {subject.name}: {len(errors)} do not start: {errors[0]}", file=sys.stderr)
            else:
                bench.add(f"{what}, all run", "s", subject.name, wall, "<= 2.5 s; cold 5 s" if count == 10 else "")
                bench.add(f"{what}, processor of each", "s", subject.name, cpu / count)
                memory_of_many(bench, what, subject, identities)
            wall, cpu = subject.measured(lambda: list(threads.map(subject.remove, identities)))
            bench.add(f"{what}, all gone", "s", subject.name, wall)


def memory_of_many(bench, what, subject, identities):
    count = len(identities)
    time.sleep(SETTLE_SECONDS)
    each = [parts(subject, identity) for identity in identities]
    pids = [pid for own in each for some in own.values() for pid in some]
    bench.add(f"{what}, private memory of each", "MB", subject.name, pss_mb(pids, "Private") / count)
    bench.add(f"{what}, PSS of each", "MB", subject.name, pss_mb(pids) / count)
    # Pages of programs and libraries, which a pod alone seems to have for itself, are the others' as well.
    for kind in each[0]:
        own = [pid for parts_of_one in each for pid in parts_of_one[kind]]
        bench.add(f"{what}, {kind}, private", "MB", subject.name, pss_mb(own, "Private") / count, "<= 6 MB" if kind == "shim" else "")
