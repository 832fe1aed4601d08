# SPDX-License-Identifier: Apache-2.0
"""Starts: of a pod, with its steps, beside a raw machine; of a container in a pod that runs; and the ends of both."""
import contextlib
import importlib.machinery
import importlib.util
import json
import shutil
import time

import harness
from ttrpc_client import Shim

RUN = "ctr run --rm of true"
JOINS = "container in a running pod"
IN_POD = 9  # containers in one pod, of each of which the start is timed
POD_KEYS = {"type": "io.kubernetes.cri.container-type", "id": "io.kubernetes.cri.sandbox-id"}


def timeline():
    loader = importlib.machinery.SourceFileLoader("timeline", str(harness.REPOSITORY / "tools/timeline"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("timeline", loader))
    loader.exec_module(module)
    return module


def of_pods(bench):
    """The starts of all subjects and of the raw machine, by turns."""
    lines = timeline()
    for _ in range(bench.pairs):
        for subject in bench.starters.values():
            began = time.time()
            wall, cpu = subject.measured(lambda subject=subject: subject.run("true"))
            ended = time.time()
            bench.add(RUN, "ms", subject.name, 1000 * wall, "/ raw <= 0.45; cold 1.25")
            bench.add(f"{RUN}: processor", "ms", subject.name, 1000 * cpu)
            if subject.name in (bench.mine, "cold"):
                with open(subject.engine.log, encoding="utf-8", errors="replace") as log:
                    for name, _, took in lines.table(log, began, ended):
                        bench.add(f"  until: {name}", "ms", subject.name, 1000 * took)
        began = time.monotonic()
        cpu = bench.raw.until_agent_opens_its_port()
        bench.add(RUN, "ms", "raw", 1000 * (time.monotonic() - began))
        bench.add(f"{RUN}: processor", "ms", "raw", 1000 * cpu)


class InPod:
    """Containers that join a running pod, asked for at its shim as containerd does, so that nothing else is timed."""

    def __init__(self, subject):
        self.subject, self.engine = subject, subject.engine
        self.spec = self.engine.default_spec("sleep", "100000")
        self.directory = self.engine.directory / f"in-pod-{subject.name}"

    @contextlib.contextmanager
    def running(self):
        pod = self.subject.new_id()
        self.subject.start(identity=pod, flags=self.annotations("sandbox", pod))
        self.spec["annotations"] = {POD_KEYS["type"]: "container", POD_KEYS["id"]: pod}
        self.shim = Shim.of(self.engine.bundle(pod))
        self.pod = pod
        try:
            yield self
        finally:
            self.shim.close()
            self.subject.remove(pod)
            shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def annotations(kind, pod):
        return ("--annotation", f"{POD_KEYS['type']}={kind}", "--annotation", f"{POD_KEYS['id']}={pod}")

    def make(self, number):
        """The bundle of one more container."""
        identity = f"{self.pod}-{number}"
        bundle = self.directory / identity
        (bundle / "rootfs").mkdir(parents=True)
        self.spec["linux"]["cgroupsPath"] = f"/{self.subject.account.name}/{identity}"
        (bundle / "config.json").write_text(json.dumps(self.spec), encoding="utf-8")
        return identity, bundle

    def start(self, identity, bundle):
        self.shim.call("Create", {1: identity, 2: str(bundle)})
        self.shim.call("Start", {1: identity})

    def end(self, identity):
        self.shim.kill(identity, 9, every=True)
        self.shim.wait(identity)
        self.shim.call("Delete", {1: identity})


def in_pod(bench):
    with contextlib.ExitStack() as stack:
        pods = [stack.enter_context(InPod(subject).running()) for subject in bench.subjects.values()]
        for number in range(max(bench.pairs, IN_POD)):
            for pod in pods:
                identity, bundle = pod.make(number)
                wall, cpu = pod.subject.measured(lambda pod=pod, i=identity, b=bundle: pod.start(i, b))
                bench.add(f"{JOINS}, create and start", "ms", pod.subject.name, 1000 * wall, "/ runc <= 1.0")
                bench.add(f"{JOINS}, processor", "ms", pod.subject.name, 1000 * cpu)
                wall, _ = pod.subject.measured(lambda pod=pod, i=identity: pod.end(i))
                bench.add(f"{JOINS}, kill, wait and delete", "ms", pod.subject.name, 1000 * wall)


def stops(bench):
    """The end of a pod that runs: from `task rm --force` until nothing of it is there."""
    for _ in range(bench.pairs):
        for subject in bench.subjects.values():
            identity = subject.start()
            began = time.monotonic()
            result = subject.engine.ctr("task", "rm", "--force", identity)
            assert result.code == 0, result.err
            bench.add("stop and delete of a pod, ctr", "ms", subject.name, 1000 * (time.monotonic() - began), "<= 120 ms")
            subject.remove(identity)


