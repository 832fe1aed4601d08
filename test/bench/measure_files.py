# SPDX-License-Identifier: Apache-2.0
"""How fast a container's files are: on its root file system, in a volume of the host, and on a tmpfs of its own. Beside them a
raw machine with an ext4 on virtio-blk and a tmpfs: what a guest's disk can be, which is the ceiling of root and volume.
"""
import contextlib
import pathlib
import subprocess

from raw_guest import RawGuest, build

HERE = pathlib.Path(__file__).resolve().parent
NAMES = {"write": "sequential write", "read": "sequential read", "random-read": "random read of 4 KiB",
         "random-write": "random write of 4 KiB", "create": "create", "open-read": "open and read", "unlink": "unlink"}
GOALS = {"write": 0.8, "read": 0.8, "random-read": 0.7, "random-write": 0.7, "create": 0.8, "open-read": 0.8, "unlink": 0.8}
PLACES = {"root": "/", "volume": "/volume", "tmpfs": "/memory"}
LIKE = {"disk": ("root", "volume"), "memory": ("tmpfs",)}  # places of the raw machine: what they are the ceiling of
MIB, PAGES, FILES = 64, 2000, 2000
DISK_MIB = 512
DISK_SECONDS = 300
BEGINS, ENDS = "begins", "ends"
SCRIPT = """mkdir /disk /memory
mount -t ext4 /dev/vda /disk; mount -t tmpfs -o size=128m tmpfs /memory
for place in disk memory; do (echo begins $place; /files_rate /$place {sizes}; echo ends) >/dev/ttyS0; done"""


class Files:
    """The program, and a container that has all places."""

    def __init__(self, bench, name="files"):
        self.directory = bench.kata.directory / name
        self.directory.mkdir()
        (self.directory / "volume").mkdir()
        self.program = build(HERE / "files_rate.c", self.directory / "files_rate")
        self.flags = ("--mount", f"type=bind,src={self.program},dst=/files_rate,options=rbind:ro",
                      "--mount", f"type=bind,src={self.directory / 'volume'},dst=/volume,options=rbind:rw",
                      "--mount", "type=tmpfs,src=tmpfs,dst=/memory,options=rw:size=128m")


def rows(bench):
    files = Files(bench)
    sizes = [str(bench.fewer(size)) for size in (MIB, PAGES, FILES)]
    guest = RawGuest(bench.raw, files.directory / "raw.img", SCRIPT.format(sizes=" ".join(sizes)), [files.program])
    for _ in range(bench.rounds):
        for subject in bench.subjects.values():
            in_container(bench, subject, files, sizes)
        in_raw_machine(bench, guest, files.directory / "disk")


def in_container(bench, subject, files, sizes):
    with subject.container(flags=files.flags) as identity:
        for place, path in PLACES.items():
            cpu = subject.account.seconds()
            done = subject.engine.exec(identity, "/files_rate", path, *sizes, timeout=900)
            assert done.code == 0, done.err
            add(bench, subject.name, [place], done.out.decode().splitlines(), subject.account.seconds() - cpu)


def in_raw_machine(bench, guest, disk):
    """On a disk that is new in each round, so that the host finds room for its blocks as it does for a container's files."""
    with open(disk, "wb") as file:
        file.truncate(DISK_MIB << 20)
    # Else the guest's kernel still makes the file system while it is measured.
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", disk], check=True)
    # With a thread of its own, as what a disk can be: without, it waits for the processor's.
    command = guest.command("-drive", f"file={disk},format=raw,if=none,id=disk", "-object", "iothread,id=disks", "-device",
                            "virtio-blk-pci,drive=disk,iothread=disks")
    with subprocess.Popen(["timeout", str(DISK_SECONDS), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          errors="replace") as process:
        with contextlib.closing(process.stdout) as console:
            done = list(spoken(console, bench.account))
    disk.unlink()
    assert [place for place, _, _ in done] == list(LIKE), f"the raw machine has measured {done}"
    for place, lines, cpu in done:
        add(bench, "raw", LIKE[place], lines, cpu)


def spoken(console, account):
    """(place, lines, processor seconds) of each place that the raw machine has measured."""
    place, lines, cpu = "", [], 0.0
    for line in map(str.strip, console):
        if line.startswith(BEGINS):
            place, lines, cpu = line.split()[1], [], account.seconds()
        elif line == ENDS:
            yield place, lines, account.seconds() - cpu
        elif not line.startswith("["):  # the kernel's
            lines.append(line)


def add(bench, name, places, lines, cpu):
    for place in places:
        goal = "/ raw >= {}" if place != "tmpfs" else ""
        for line in lines:
            kind, unit, value = line.split()
            bench.add(f"files, {place}: {NAMES[kind]}", unit, name, float(value), goal.format(GOALS[kind]))
        bench.add(f"files, {place}: processor of all", "s", name, cpu)
