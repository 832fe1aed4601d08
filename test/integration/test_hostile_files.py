# SPDX-License-Identifier: Apache-2.0
"""A container that changes a shared directory under the host's hands: names swapped for links while the host makes and
deletes containers with parts of that directory, and files that are dangerous on a host.

A round is one volume of a container, a part of the directory that was opened as the kubelet and Docker do it for a
subPath (each name by itself, no links) and bound beside it; KATA_HOSTILE_ROUNDS says how many there are (500; 10,000 by
hand).
"""
import contextlib
import ctypes
import errno
import os
import pathlib
import shutil
import stat
import subprocess
import time

import pytest

import harness
from test_neighbours import annotations

HERE = pathlib.Path(__file__).resolve().parent
ROUNDS = int(os.environ.get("KATA_HOSTILE_ROUNDS", "500"))
BATCH = 50  # volumes of a container
PIN_SECONDS = 60  # until the swapped name is a directory for once
USER = 1000
MS_BIND, MS_REC, MS_NOSUID, MS_NODEV, MS_REMOUNT, MNT_DETACH, O_PATH = 4096, 16384, 2, 4, 32, 2, 0o10000000
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source, target, flags, kind="none"):
    if LIBC.mount(str(source).encode(), str(target).encode(), kind.encode(), ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), f"mounting {target}")


def umount(target, flags=0):
    if LIBC.umount2(str(target).encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), f"unmounting {target}")


def bind(source, target, options="rbind:rw"):
    return ("--mount", f"type=bind,src={source},dst={target},options={options}")


def picture(tree):
    """Everything of a tree that a touch of it would change: a line per file."""
    lines = []
    for path in [tree, *sorted(tree.rglob("*"))]:
        info = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        lines.append((str(path), info.st_mode, info.st_uid, info.st_gid, info.st_nlink, info.st_mtime_ns, info.st_ctime_ns,
                      content))
    return lines


def pin(volume, names, target):
    """Binds volume/name/name… at `target` without following a link. False: it was none, or was swapped."""
    place = os.open(volume, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            below = os.open(name, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            os.close(place)
            place = below
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                return False
        mount(f"/proc/self/fd/{place}", target, MS_BIND | MS_REC)
        return True
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return False
    finally:
        os.close(place)


class Ground:
    """A volume that a container has, and what lies beside it on the host and is nobody's business."""

    def __init__(self, kata):
        self.directory = kata.directory / "ground"
        self.volume, self.canary, self.pins = (self.directory / name for name in ("volume", "canary", "pins"))
        self.below = self.volume / "inner/below"
        for path in (self.volume / "swap/part", self.below, self.canary / "part/below", self.pins):
            path.mkdir(parents=True)
        mount("none", self.below, 0, "tmpfs")
        for path, text in ((self.volume / "swap/part", "part"), (self.below, "below"), (self.canary, "outside"),
                           (self.canary / "part", "outside"), (self.canary / "part/below", "outside")):
            (path / "who").write_text(f"{text}\n", encoding="utf-8")
        self.before = picture(self.canary)
        self.refused = 0

    def remove(self):
        for path in self.pins.iterdir():
            with contextlib.suppress(OSError):
                umount(path, MNT_DETACH)
        umount(self.below)  # not lazily: nobody keeps it
        shutil.rmtree(self.directory)

    def pinned(self, names, count):
        """So many places that are bound below the volume while it is swapped."""
        places = []
        for number in range(count):
            places.append(self.pins / str(number))
            places[-1].mkdir(exist_ok=True)
            until = time.monotonic() + PIN_SECONDS
            while not pin(self.volume, names, places[-1]):
                self.refused += 1
                assert time.monotonic() < until, f"{names} was no directory for {PIN_SECONDS} s"
        return places


@pytest.fixture
def ground(kata):
    made = Ground(kata)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def swapper(session_containerd):
    path = session_containerd.directory / "swap_probe"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", path, HERE / "swap_probe.c"], check=True)
    return path


def server_of(pod):
    """The pod's virtiofsd."""
    return min(pid for pid, line in harness.processes(pod).items() if line.split()[0].endswith("/virtiofsd"))


def mounts_of(pod):
    """All that is mounted for the pod: (place, attributes). What the container renames has its first name."""
    lines = [line.split() for line in harness.read(f"/proc/{server_of(pod)}/mountinfo").splitlines()]
    return sorted((words[4].replace("/other/", "/inner/"), words[5]) for words in lines)


def rounds_of(ground):
    return int(harness.read(ground.volume / "rounds").strip() or 0)


# What is opened, and what a container finds in it.
PARTS = ((("swap", "part"), "who", "part"), (("inner",), "below/who", "below"))


def test_names_are_swapped_while_the_host_mounts_and_deletes(kata, ground, swapper):
    pod = kata.new_id("pod")
    hostile = f"{pod}-hostile"
    flags = (*annotations("container", pod), *bind(ground.volume, "/v"), *bind(swapper, "/swap_probe", "bind:ro"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(kata.container(identity=pod, flags=annotations("sandbox", pod)))
        stack.enter_context(kata.container("/swap_probe", "/v", str(ground.canary), identity=hostile, flags=flags))
        harness.wait_for(lambda: rounds_of(ground) > 0, "the first swaps")
        before, swaps, done = mounts_of(pod), rounds_of(ground), 0
        while done < ROUNDS:
            names, file, text = PARTS[done // BATCH % len(PARTS)]
            places = ground.pinned(names, BATCH)
            identity = f"{pod}-{done}"
            volumes = [word for number, place in enumerate(places) for word in bind(place, f"/m/{number}")]
            kata.start_detached(identity, "sleep", "1000", flags=(*annotations("container", pod), *volumes))
            seen = kata.exec(identity, "sh", "-c", f"cat /m/*/{file}; for i in /m/*; do echo x >$i/new && rm $i/new; done")
            kata.remove(identity)
            assert (seen.code, seen.out) == (0, f"{text}\n".encode() * BATCH), seen
            for place in places:  # not lazily: nobody keeps them
                if (place / "below").is_mount():
                    umount(place / "below")
                umount(place)
            assert picture(ground.canary) == ground.before
            assert mounts_of(pod) == before
            done += BATCH
        print(f"{done} rounds, {rounds_of(ground) - swaps} of the swapper, {ground.refused} times it was no directory")
        assert rounds_of(ground) > swaps and kata.tasks()[hostile][1] == "RUNNING"


def test_dangerous_files_do_not_work_on_the_host(kata, ground, swapper):
    """Where the pod has them, and where the operator has mounted the volume so. By another way they do."""
    pod = kata.new_id("pod")
    script = "cp /swap_probe /v/id && chown 0:0 /v/id && chmod 6755 /v/id && mknod /v/null c 1 3 && chmod 666 /v/null && " \
        "mknod /v/disk b 43 0 && chmod 666 /v/disk && stat -c '%a %F' /v/id /v/null /v/disk"
    careful = ground.pins / "careful"
    careful.mkdir()
    mount(ground.volume, careful, MS_BIND)
    mount("none", careful, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV)
    with kata.container(identity=pod, flags=(*bind(ground.volume, "/v"), *bind(swapper, "/swap_probe", "bind:ro"))):
        made = kata.exec(pod, "sh", "-c", script)
        assert made.out.decode().splitlines() == [
            "6755 regular file", "666 character special file", "666 block special file"], made
        shared = [attributes.split(",") for place, attributes in mounts_of(pod)
                  if "/.volumes/" in place or place.endswith("rootfs")]
        assert len(shared) >= 3 and all("nosuid" in words and "nodev" in words for words in shared), mounts_of(pod)
    for user in (0, USER):
        assert [open_as(user, careful / name) for name in ("null", "disk")] == [errno.EACCES] * 2
        assert open_as(user, ground.volume / "null") == 0
    assert identity_as(USER, careful / "id") == USER
    assert identity_as(USER, ground.volume / "id") == 0


def open_as(user, path):
    """0, or the errno of opening it."""
    script = "import os, sys\nos.setresuid(*[int(sys.argv[1])] * 3)\n" \
        "try: os.open(sys.argv[2], os.O_RDONLY | os.O_NONBLOCK)\nexcept OSError as error: print(error.errno)\nelse: print(0)"
    return int(subprocess.run(["/usr/bin/python3", "-c", script, str(user), path], check=True, stdout=subprocess.PIPE).stdout)


def identity_as(user, program):
    """Whose rights a program has that the user runs."""
    return int(subprocess.run([program, "--who"], user=user, check=True, stdout=subprocess.PIPE).stdout)
