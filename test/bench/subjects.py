# SPDX-License-Identifier: Apache-2.0
"""Who is measured: the installation, runc and other shims, by the same containerd, and what all of it uses of the processor."""
import contextlib
import copy
import os
import pathlib
import subprocess
import time

import harness

CGROUPS = pathlib.Path("/sys/fs/cgroup")
NANO, MICRO = 1e9, 1e6


class Account:
    """A cgroup for the engine and all pods, and for what they are compared with: its processor time is theirs, also of those
    that have ended."""

    def __init__(self, name):
        self.name = name
        self.is_v1 = (CGROUPS / "cpuacct").is_dir()
        self.roots = [CGROUPS / kind for kind in ("cpu", "cpuacct")] if self.is_v1 else [CGROUPS]

    def make(self):
        for root in self.roots:
            for place in ("engine", "raw"):
                (root / self.name / place).mkdir(parents=True, exist_ok=True)

    def remove(self):
        for place in (CGROUPS / self.name, *CGROUPS.glob(f"*/{self.name}")):
            if place.is_dir():
                subprocess.run(["find", place, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"], check=False)

    def entering(self, place="engine"):
        """Words before a command that runs there; it must end with an exec of them."""
        files = " ".join(str(root / self.name / place / "cgroup.procs") for root in self.roots)
        return ("sh", "-c", f'for f in {files}; do echo $$ >$f; done; exec "$@"', "sh")

    def seconds(self):
        place = self.roots[-1] / self.name
        if self.is_v1:
            return int((place / "cpuacct.usage").read_text(encoding="ascii")) / NANO
        fields = dict(line.split() for line in (place / "cpu.stat").read_text(encoding="ascii").splitlines())
        return int(fields["usage_usec"]) / MICRO


class Subject:
    """One runtime. `engine`: a harness.Containerd that uses it."""

    def __init__(self, name, engine, account, flags=()):
        self.name, self.engine, self.account = name, engine, account
        self.flags = flags

    def new_id(self):
        return self.engine.new_id(self.name)  # each subject's engine counts for itself

    def flags_of(self, identity):
        return ("--cgroup", f"/{self.account.name}/{identity}", *self.flags)

    def run(self, *command):
        identity = self.new_id()
        result = self.engine.run(*command, flags=self.flags_of(identity), identity=identity)
        assert result.code == 0, f"{self.name}: {result.err}"

    def start(self, *command, identity=None, flags=()):
        identity = identity or self.new_id()
        self.engine.start_detached(identity, *(command or ("sleep", "100000")), flags=(*self.flags_of(identity), *flags))
        return identity

    def remove(self, identity):
        self.engine.remove(identity)

    @contextlib.contextmanager
    def container(self, *command, flags=()):
        identity = self.start(*command, flags=flags)
        try:
            yield identity
        finally:
            self.remove(identity)

    def measured(self, work):
        """(wall seconds, processor seconds) of it."""
        cpu, began = self.account.seconds(), time.monotonic()
        work()
        return time.monotonic() - began, self.account.seconds() - cpu


def of(kata, account, peers):
    """The subjects by name. peers: "NAME=SHIM[:CONFIGURATION]"."""
    def other(runtime):
        engine = copy.copy(kata)
        engine.runtime = runtime
        return engine
    found = {"kata": Subject("kata", kata, account), "runc": Subject("runc", other("io.containerd.runc.v2"), account)}
    for peer in peers:
        name, _, rest = peer.partition("=")
        path, _, config = rest.partition(":")
        if not name or name in found or not os.access(path, os.X_OK):
            raise SystemExit(f"--peer {peer}: it is NAME=SHIM[:CONFIGURATION], with a program that can be run")
        flags = ("--runtime-config-path", config) if config else ()
        found[name] = Subject(name, other(path), account, flags)
    return found


def booting(kata, account):
    """The installation, with machines that boot instead of going on from a template."""
    return Subject("cold", copy.copy(kata), account, kata.configured("cold", "[factory]\nenable_template = false\n"))


def pss_mb(pids, field="Pss"):
    """Of processes: what is theirs, shared pages by parts. Field "Private": what nobody else has."""
    total = 0
    for pid in pids:
        for line in harness.read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(f"{field}:") or (field == "Private" and line.startswith(("Private_Clean:", "Private_Dirty:"))):
                total += int(line.split()[1])
    return total / 1000
