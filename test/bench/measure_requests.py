# SPDX-License-Identifier: Apache-2.0
"""How often a container's files ask the host: virtiofsd's requests for each operation of files_rate.c. They are the same on every
machine, where times are not (but for what the guest asks anew after a second). virtiofsd itself says each in its debug log.
"""
import collections
import contextlib
import os
import re
import time

import harness
from measure_files import NAMES, PLACES, Files, counts, each
from measure_memory import parts
from task_client import Exec, TaskClient

SIZES = (8, 100, 100)
# QEMU's daemon: "unique: 5, opcode: LOOKUP (1), …"; the one in Rust: "Received request: opcode=Lookup (1), …".
REQUEST = re.compile(rb"\bopcode[:=] ?(\w+) \(")
FORGETS = ("forget", "batch_forget")  # have no answer, and come whenever the guest needs memory
QUIET_SECONDS = 0.1  # a file's release goes on after its close
DAEMON = """#!/bin/bash
# The runtime's virtiofsd, talkative.
words=()
for word; do
  case $word in
    --log-level=*) word=--log-level=debug ;;
    log_level=*) word=log_level=debug ;;
  esac
  words+=("$word")
done
[[ $* != *--fd=* ]] || exec 2>>"{log}"
exec "{program}" "${{words[@]}}"
"""


class Log:
    """What virtiofsd has said."""

    def __init__(self, path):
        self.path, self.at = path, 0

    def requests(self):
        """The requests since the last call by their kind, when no more come."""
        size = -1
        while size != (size := self.path.stat().st_size):
            time.sleep(QUIET_SECONDS)
        with open(self.path, "rb") as file:
            file.seek(self.at)
            text = file.read(size - self.at)
        self.at = size
        kinds = collections.Counter(kind.decode().lower() for kind in REQUEST.findall(text))
        for kind in FORGETS:
            kinds.pop(kind, None)
        return kinds


def rows(bench):
    files = Files(bench, "requests")
    subject = bench.subjects[bench.mine]
    log = Log(files.directory / "virtiofsd.log")
    log.path.touch()
    with subject.container() as identity:
        program = harness.read(f"/proc/{parts(subject, identity)['virtiofsd'][0]}/cmdline").split()[0]
    daemon = files.directory / "virtiofsd"
    daemon.write_text(DAEMON.format(log=log.path, program=program), encoding="utf-8")
    daemon.chmod(0o755)
    # A template would be made for this daemon, for one pod.
    flags = subject.engine.configured("requests", f'[hypervisor.qemu]\nvirtio_fs_daemon = "{daemon}"\n[factory]\nenable_template = false\n')
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(subject.container(flags=(*flags, *files.flags)))
        client = stack.enter_context(contextlib.closing(TaskClient(subject.engine.bundle(identity))))
        count = counts(*SIZES)
        for place in ("root", "volume"):
            for kind, requests in steps(client, identity, place, log):
                bench.add(f"files, {place}: {each(kind)}", "requests", bench.mine, requests.total() / count[kind])


def steps(client, identity, place, log):
    """(kind, requests) of each way."""
    process = Exec(client, identity, f"requests-{place}", "/files_rate", PLACES[place], *map(str, SIZES), "steps")
    process.start()
    for kind in (None, *NAMES):
        text = b""
        while not text.endswith(b"next\n"):
            data = process.read()
            assert data, f"files_rate has ended after {text}: {process.read_now(process.stderr)}"
            text += data
        requests = log.requests()
        if kind:
            yield kind, requests
        os.write(process.stdin, b"\n")
    process.wait()
    process.delete()
