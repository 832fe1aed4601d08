# SPDX-License-Identifier: Apache-2.0
"""How fast a container's files are: on its root file system, in a volume of the host, and on a tmpfs of its own. Beside them a
raw machine with an ext4 on virtio-blk and a tmpfs: what a guest's disk can be, which is the ceiling of root and volume.
"""
import pathlib
import subprocess

from raw_guest import RawGuest, build

HERE = pathlib.Path(__file__).resolve().parent
NAMES = {"write": "sequential write", "read": "sequential read", "random-read": "random read of 4 KiB",
         "random-write": "random write of 4 KiB", "create": "create", "open-read": "open and read", "unlink": "unlink"}
GOALS = {"write": 0.8, "read": 0.8, "random-read": 0.7, "random-write": 0.7, "create": 0.8, "open-read": 0.8, "unlink": 0.8}
PLACES = {"root": "/", "volume": "/volume", "tmpfs": "/memory"}
LIKE = {"/disk": ("root", "volume"), "/memory": ("tmpfs",)}  # directories of the raw machine: what they are the ceiling of
MIB, PAGES, FILES = 64, 2000, 2000
DISK_MIB = 512
SECONDS = 900
SCRIPT = """mkdir /disk /memory
mount -t ext4 /dev/vda /disk; mount -t tmpfs -o size=128m tmpfs /memory
for place in disk memory; do /files_rate /$place {sizes} >/dev/ttyS0; done"""


def counts(mib, pages, files):
    """How often files_rate does each."""
    return {"write": mib, "read": mib, "random-read": pages, "random-write": pages, "create": files, "open-read": files, "unlink": files}


def each(kind):
    return f"{NAMES[kind]}, each {'MiB' if kind in ('write', 'read') else 'one'}"


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
    sizes = [bench.fewer(size) for size in (MIB, PAGES, FILES)]
    guest = RawGuest(bench.raw, files.directory / "raw.img", SCRIPT.format(sizes=" ".join(map(str, sizes))), [files.program])
    for _ in range(bench.rounds):
        for subject in bench.subjects.values():
            with subject.container(flags=files.flags) as identity:
                for place, path in PLACES.items():
                    command = subject.engine.exec_command(identity, "/files_rate", path, *sizes)
                    add(bench, subject.name, {path: (place,)}, command, sizes)
        add(bench, "raw", LIKE, with_disk(guest, files.directory / "disk"), sizes)


def with_disk(guest, disk):
    """The command of a raw machine with a disk that is new, so that the host finds room for its blocks as it does for a
    container's files."""
    disk.unlink(missing_ok=True)
    with open(disk, "wb") as file:
        file.truncate(DISK_MIB << 20)
    # Else the guest's kernel still makes the file system while it is measured.
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", disk], check=True)
    # With a thread of its own, as what a disk can be: without, it waits for the processor's.
    return guest.command("-drive", f"file={disk},format=raw,if=none,id=disk", "-object", "iothread,id=disks", "-device",
                         "virtio-blk-pci,drive=disk,iothread=disks")


def add(bench, name, places, command, sizes):
    """The values of files_rate, which the command runs in each directory of `places`."""
    count, seen = counts(*sizes), []
    for directory, kind, unit, value, cpu in spoken(command, bench.account):
        seen.append(directory)
        for place in places[directory]:
            goal = f"/ raw >= {GOALS[kind]}" if place != "tmpfs" else ""
            bench.add(f"files, {place}: {NAMES[kind]}", unit, name, value, goal)
            bench.add(f"files, {place}: {each(kind)}, processor", "ms", name, 1000 * cpu / count[kind])
    assert seen == [directory for directory in places for _ in NAMES], f"{name}: files_rate has ended after {len(seen)} lines"


def spoken(command, account):
    """(directory, kind, unit, value, processor seconds since the line before) of each line of files_rate."""
    directory, before = "", 0.0
    with subprocess.Popen(["timeout", str(SECONDS), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          errors="replace") as process:
        for words in map(str.split, process.stdout):
            now = account.seconds()
            if words[:1] == ["begins"]:
                directory = words[1]
            elif words and words[0] in NAMES:  # else the kernel speaks
                yield directory, words[0], words[1], float(words[2]), now - before
            before = now
