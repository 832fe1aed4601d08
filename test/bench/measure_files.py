# SPDX-License-Identifier: Apache-2.0
"""How fast a container's files are: on its root file system, in a volume of the host, and on a tmpfs of its own."""
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
NAMES = {"write": "sequential write", "read": "sequential read", "random-read": "random read of 4 KiB",
         "random-write": "random write of 4 KiB", "create": "create", "open-read": "open and read", "unlink": "unlink"}
PLACES = {"root": "/", "volume": "/volume", "tmpfs": "/memory"}


def rows(bench):
    directory = bench.kata.directory / "files"
    directory.mkdir()
    program = bench.kata.directory / "files_rate"
    subprocess.run(["gcc", "-O1", "-static", "-o", program, HERE / "files_rate.c"], check=True)
    flags = ("--mount", f"type=bind,src={program},dst=/files_rate,options=rbind:ro",
             "--mount", f"type=bind,src={directory},dst=/volume,options=rbind:rw",
             "--mount", "type=tmpfs,src=tmpfs,dst=/memory,options=rw:size=128m")
    for _ in range(max(3, bench.pairs // 2)):
        for subject in bench.subjects.values():
            with subject.container(flags=flags) as identity:
                for place, path in PLACES.items():
                    done = subject.engine.exec(identity, "/files_rate", path, timeout=900)
                    assert done.code == 0, done.err
                    for line in done.out.decode().splitlines():
                        name, unit, value = line.split()
                        bench.add(f"files, {place}: {NAMES[name]}", unit, subject.name, float(value))
