# SPDX-License-Identifier: Apache-2.0
"""Volumes that the kubelet writes anew while containers read them (ConfigMap, Secret, projected): their programs see
each change at once and whole, and who watches them is told, as with runc.
"""
import contextlib
import os
import pathlib
import shutil
import subprocess

import pytest

import harness
from test_neighbours import annotations

RUNC = "io.containerd.runc.v2"
HERE = pathlib.Path(__file__).resolve().parent
CHANGES = 3


class Volume:
    """As the kubelet makes and changes one."""

    def __init__(self, directory, kind="configmap", name="settings", made=False):
        self.path = directory / "pods" / "uid" / "volumes" / f"kubernetes.io~{kind}" / name
        if not made:
            self.path.mkdir(parents=True)
        self.path.chmod(0o755)
        self.count = 0
        self.now = None

    def write(self, **files):
        self.count += 1
        new = self.path / f"..2026_11_28_10_00_00.{self.count}"
        new.mkdir(0o755)
        for name, text in files.items():
            (new / name).write_text(text, encoding="utf-8")
            os.chmod(new / name, 0o440)
        (self.path / "..data_tmp").symlink_to(new.name)
        os.rename(self.path / "..data_tmp", self.path / "..data")
        for name in files:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        for link in list(self.path.iterdir()):
            if link.is_symlink() and not link.name.startswith("..") and link.name not in files:
                link.unlink()
        if self.now is not None:
            shutil.rmtree(self.now)
        self.now = new

    def bind(self, destination, options="rbind:rprivate:ro"):
        return "--mount", f"type=bind,src={self.path},dst={destination},options={options}"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Flags that put the watcher at /probe."""
    path = tmp_path_factory.mktemp("probe") / "watch_probe"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", path, HERE / "watch_probe.c"], check=True)
    return "--mount", f"type=bind,src={path},dst=/probe,options=rbind:ro"


@pytest.fixture
def volume(tmp_path):
    made = Volume(tmp_path)
    made.write(key="0", other="kept")
    return made


def runs(kata, runtime, *command, flags=()):
    return subprocess.Popen(kata.command("run", "--rm", "--runtime", runtime, *flags, kata.image, kata.new_id(), *command),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def watched(kata, program, volume, runtime):
    """What the watcher says while the volume is changed, without what it was called with."""
    lines = []
    with runs(kata, runtime, "/probe", "/settings", str(CHANGES), flags=(*program, *volume.bind("/settings"))) as process:
        assert process.stdout.readline() == b"ready\n"
        for i in range(1, CHANGES + 1):
            volume.write(key=str(i), other="kept")
            while not lines or not lines[-1].startswith(f"removed ..2026_11_28_10_00_00.{i}"):
                lines.append(process.stdout.readline().decode().rstrip("\n"))
                assert lines[-1], lines
        assert process.wait(harness.COMMAND_SECONDS) == 0
    return lines


def test_a_watcher_sees_what_it_sees_with_runc(kata, program, tmp_path):
    seen = []
    for runtime in (RUNC, kata.runtime):
        volume = Volume(tmp_path / runtime)
        volume.write(key="0", other="kept")
        seen.append(watched(kata, program, volume, runtime))

    assert seen[0] == seen[1]
    assert [line for line in seen[0] if line.startswith("key")] == ["key 1", "key 2", "key 3"]


def content(kata, identity, command):
    result = kata.exec(identity, "sh", "-c", command)
    assert result.code == 0, result.err
    return result.out.decode()


@pytest.mark.parametrize("kind", ["configmap", "secret", "projected", "downward-api"])
def test_files_are_as_on_the_host_and_follow(kata, tmp_path, kind):
    volume = Volume(tmp_path, kind)
    volume.write(key="one", gone="soon")
    os.chown(volume.now / "key", 7, 8)
    look = "cd /settings; cat key; stat -c ' %a %u %g' -L key; ls; ls -ld key | grep -o '[^ ]* -> .*'; touch new 2>&1; echo $?"
    with kata.container(flags=volume.bind("/settings")) as identity:
        first = content(kata, identity, look)
        volume.write(key="two", added="later")
        harness.wait_for(lambda: content(kata, identity, "cat /settings/key") == "two", "the change")
        harness.wait_for(lambda: content(kata, identity, "ls /settings") == "added\nkey\n", "the other names")

    assert first.splitlines() == ["one 440 7 8", "gone", "key", "key -> ..data/key",
                                  "touch: new: Read-only file system", "1"]


def test_containers_of_a_pod_have_one_copy(kata, volume):
    pod = kata.new_id("pod")
    first, second = f"{pod}-1", f"{pod}-2"
    inode = "stat -L -c '%d %i' /settings/key"
    with contextlib.ExitStack() as stack:
        stack.enter_context(kata.container(identity=pod, flags=annotations("sandbox", pod)))
        flags = (*annotations("container", pod), *volume.bind("/settings"))
        stack.enter_context(kata.container(identity=first, flags=flags))
        with kata.container(identity=second, flags=flags):
            assert content(kata, first, inode) == content(kata, second, inode)
        volume.write(key="1")
        harness.wait_for(lambda: content(kata, first, "cat /settings/key") == "1", "the change, for the one that is left")
    # The kubelet's own volume is as it was.
    assert sorted(path.name for path in volume.path.iterdir()) == ["..2026_11_28_10_00_00.2", "..data", "key"]


def test_what_is_mounted_in_one_outlives_its_changes(kata, tmp_path):
    """A pod's token below a Secret of its own: the kubelet makes the place for it, which stays when the Secret changes."""
    outer, inner = Volume(tmp_path / "outer", "secret"), Volume(tmp_path / "inner", "projected")
    outer.write(key="0")
    inner.write(token="secret")
    (outer.path / "account/token").mkdir(parents=True)
    with kata.container(flags=(*outer.bind("/settings"), *inner.bind("/settings/account/token"))) as identity:
        assert content(kata, identity, "cat /settings/account/token/token") == "secret"
        outer.write(key="1")
        harness.wait_for(lambda: content(kata, identity, "cat /settings/key") == "1", "the change")
        assert content(kata, identity, "sleep 1; cat /settings/account/token/token") == "secret"


def test_one_that_is_too_big_is_shared_and_follows_too(kata, tmp_path):
    volume = Volume(tmp_path)
    volume.write(key="0", big="x" * (3 << 20))
    with kata.container(flags=volume.bind("/settings")) as identity:
        assert content(kata, identity, "stat -f -c %T /settings") != "tmpfs\n"
        volume.write(key="1", big="y")
        harness.wait_for(lambda: content(kata, identity, "cat /settings/key") == "1", "the change")


def test_a_volume_that_goes_leaves_the_container_its_files(kata, volume):
    """The kubelet takes it away when the containers have ended; one that has not yet must not be disturbed."""
    with kata.container(flags=volume.bind("/settings")) as identity:
        volume.path.rename(volume.path.with_name("gone"))
        assert content(kata, identity, "sleep 1; cat /settings/key") == "0"


def test_the_kubelet_can_unmount_one_while_the_machine_runs(kata, tmp_path):
    """As it does with a Secret once the containers have ended, and does not do lazily."""
    place = tmp_path / "pods/uid/volumes/kubernetes.io~secret/keys"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        volume = Volume(tmp_path, "secret", "keys", made=True)
        volume.write(key="0")
        with kata.container(flags=volume.bind("/settings")) as identity:
            volume.write(key="1")
            harness.wait_for(lambda: content(kata, identity, "cat /settings/key") == "1", "the change")
            subprocess.run(["umount", place], check=True)
            assert content(kata, identity, "cat /settings/key") == "1"
    finally:
        subprocess.run(["umount", "-l", place], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("whose", ["shim", "machine"])
def test_a_kill_in_the_middle_of_changes_leaves_nothing(kata, volume, whose):
    """Twice: what the first one has left would be in the way of the second. What is left is looked for after the test."""
    for _ in range(2):
        identity = kata.new_id("killed")
        kata.start_detached(identity, "sleep", "1000", flags=volume.bind("/settings"))
        for i in range(20):
            volume.write(key=str(i))
            if i == 10:
                harness.kill(kata.shim_pids(identity) if whose == "shim" else kata.qemu_pids(identity))
        harness.wait_for(lambda: not kata.qemu_pids(identity), "the machine's end")  # its shim stays for who asks
        kata.remove(identity)
        assert (volume.path / "key").read_text(encoding="utf-8") == "19"
