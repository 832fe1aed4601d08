# SPDX-License-Identifier: Apache-2.0
"""A systemd of the test's own, process 1 of a pid, a mount and a cgroup namespace, whatever runs on the host.

As a program, run by `unshare`, this file is what becomes that systemd.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import harness

SYSTEMD = "/lib/systemd/systemd"
ROOT = pathlib.Path("/sys/fs/cgroup")
SOCKET = "/run/systemd/private"
TARGET = "kata-test.target"


def hierarchies():
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [path for path in ROOT.iterdir() if not path.is_symlink() and (path / "cgroup.procs").exists()]


def remove(directory):
    """A cgroup with all below it; the kernel lets go of one a moment after its last process."""
    def is_gone():
        for path, _, _ in os.walk(directory, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        return not os.path.exists(directory)
    harness.wait_for(is_gone, f"the end of {directory}")


@contextlib.contextmanager
def systemd(name):
    """The words that run a command beside it. Its cgroups are below one called `name`."""
    places = [path / name for path in hierarchies()]
    for place in places:
        place.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (place.parent / file).exists() and place.parent.name == "cpuset":
                (place / file).write_text(harness.read(place.parent / file), encoding="utf-8")
    process = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "--mount", sys.executable, __file__, *map(str, places)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        first = harness.wait_for(lambda: harness.read(f"/proc/{process.pid}/task/{process.pid}/children").split(), "its first process")[0]
        enter = ["nsenter", "--target", first, "--mount", "--pid", "--cgroup"]
        def answers():
            assert process.poll() is None, process.stdout.read()
            return subprocess.run([*enter, "systemctl", "is-active", TARGET], capture_output=True, check=False).stdout == b"active\n"
        harness.wait_for(answers, "systemd")
        yield enter
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        for place in places:
            remove(place)


def sh(*command):
    subprocess.run(command, check=True)


def become(places):
    """In namespaces of its own for processes and mounts: enters the cgroups, makes them the top, becomes systemd."""
    for place in places:
        pathlib.Path(place, "cgroup.procs").write_text("0", encoding="utf-8")  # this process
    # A cgroup namespace's top is where the process is that makes it.
    os.execvp("unshare", ["unshare", "--cgroup", sys.executable, __file__, "--inside", *places])


def become_inside(places):
    sh("mount", "--make-rprivate", "/")
    sh("mount", "-t", "proc", "proc", "/proc")
    # It makes files there. Else nothing of the host's /run is hidden.
    sh("mount", "--rbind", "/run", "/run")
    os.makedirs("/run/systemd", exist_ok=True)
    sh("mount", "-t", "tmpfs", "none", "/run/systemd")
    names = [pathlib.Path(place).parent.name for place in places]
    is_version2 = (ROOT / "cgroup.controllers").exists()
    kinds = {name: "cgroup2" if (ROOT / name / "cgroup.controllers").exists() else "cgroup" for name in names}
    sh("umount", "--recursive", "--lazy", str(ROOT))
    if is_version2:
        sh("mount", "-t", "cgroup2", "cgroup2", str(ROOT))
    else:
        sh("mount", "-t", "tmpfs", "none", str(ROOT))
        for name, kind in kinds.items():
            (ROOT / name).mkdir()
            options = {"cgroup2": "rw", "cgroup": f"none,name={name}" if name == "systemd" else name}[kind]
            sh("mount", "-t", kind, "-o", options, kind, str(ROOT / name))
    units = pathlib.Path("/run/systemd/system")
    units.mkdir()
    (units / TARGET).write_text("[Unit]\nDescription=nothing but what a test asks for\n", encoding="utf-8")
    os.environ["container"] = "test"
    os.execv(SYSTEMD, [SYSTEMD, "--system", f"--unit={TARGET}", "--show-status=no", "--log-target=console", "--log-level=warning"])


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        become_inside(sys.argv[2:])
    become(sys.argv[1:])
