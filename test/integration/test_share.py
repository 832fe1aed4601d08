# SPDX-License-Identifier: Apache-2.0
"""What a pod is shown of the host is the pod's own affair: nobody else notices, and the guest can do no more with it
than the container may.
"""
import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

import harness
from test_neighbours import annotations

# In a container with all capabilities, which is as good as the guest's root: the whole share, without any of the
# container's own mounts in between.
WHOLE_SHARE = "mkdir -p /m && mount -t virtiofs kataShared /m"


def bind(source, options, destination="/v"):
    return ("--mount", f"type=bind,src={source},dst={destination},options={options}")


@pytest.fixture
def volume(kata):
    """A directory of the host with a file, and a mount in it, `sub`, with a file."""
    directory = kata.directory / "volume"
    (directory / "sub").mkdir(parents=True)
    (directory / "file").write_text("top\n", encoding="utf-8")
    subprocess.run(["mount", "-t", "tmpfs", "volume", directory / "sub"], check=True)
    (directory / "sub/file").write_text("below\n", encoding="utf-8")
    yield directory
    subprocess.run(["umount", directory / "sub"], check=True)  # not lazily: nobody may keep it busy
    (directory / "sub").rmdir()
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


@pytest.mark.parametrize("source, mode", [
    ("/", "rw"), ("/", "ro"), ("/run", "rw"), ("/run", "rro"), ("/var/lib", "rw"), ("/tmp", "rw"),
    ("/sys/fs/cgroup", "ro"), ("STATE", "rw"), ("ROOT", "rw")])
def test_pods_come_and_go_while_one_has_a_part_of_the_host(kata, source, mode):
    source = {"STATE": kata.directory / "state", "ROOT": kata.directory / "root"}.get(source, source)
    with kata.container() as neighbour:
        with kata.container(flags=bind(source, f"rbind:{mode}")) as identity:
            # Between the two: the second has seen all of the first, which goes now, and a third comes and goes.
            kata.remove(neighbour)
            assert not (harness.KATA_RUN / "shared" / neighbour).exists()
            assert kata.run("true").code == 0
            seen = kata.ctr("task", "exec", "--exec-id", "look", identity, "ls", "/v")
            assert seen.code == 0 and seen.out, seen.err


def test_the_host_has_no_mount_of_a_pod(kata, volume):
    with kata.container(flags=bind(volume, "rbind:rw")) as identity:
        assert not [line for line in harness.read("/proc/self/mountinfo").splitlines()
                    if identity in line or "/run/kata-containers" in line.split()[4]]
        assert not list((kata.bundle(identity) / "rootfs").iterdir())
        # A plain unmount, and its mount point goes too, while the pod has it.
        subprocess.run(["umount", volume / "sub"], check=True)
        (volume / "sub").rmdir()
        (volume / "sub").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "volume", volume / "sub"], check=True)


def test_a_killed_shim_leaves_no_mount(kata, volume):
    identity = kata.new_id()
    kata.start_detached(identity, "sleep", "1000", flags=bind(volume, "rbind:rw"))
    (shim,) = kata.shim_pids(identity)
    namespaces = {os.readlink(f"/proc/{pid}/ns/mnt") for pid in harness.processes("virtiofsd --fd", identity)}
    assert os.readlink("/proc/self/ns/mnt") not in namespaces
    os.kill(shim, signal.SIGKILL)

    def is_gone():
        found = set()
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(entry / "ns/mnt"))
        return not namespaces & found
    harness.wait_for(is_gone, "the end of the pod's mount namespaces")
    kata.remove(identity)


def write_everywhere(kata, flags, remount=""):
    """What a container with all capabilities could write to: at the top of the volume, and in the mount below."""
    script = f"""{remount} {WHOLE_SHARE} || exit 9
        for at in /m/.volumes/*/file /m/.volumes/*/sub/file; do
          (echo changed >$at) 2>/dev/null && echo $at
        done; exit 0"""
    result = kata.run("sh", "-c", script, flags=("--privileged", *flags))
    assert result.code == 0, result.err
    lines = result.out.decode().split()
    return {"sub" if line.endswith("/sub/file") else "top" for line in lines}


@pytest.mark.parametrize("options, writable", [
    ("rbind:rw", {"top", "sub"}), ("bind:rw", {"top"}), ("rbind:ro", {"sub"}), ("bind:ro", set()),
    ("rbind:rro", set()), ("rbind:ro:rro", set()), ("bind:rro", set())])
def test_the_guests_root_cannot_write_what_the_container_may_not(kata, volume, options, writable):
    # Should the remount work, it changes the container's own mount only.
    assert write_everywhere(kata, bind(volume, options), "mount -o remount,bind,rw /v;") == writable


def test_the_guests_root_cannot_write_to_a_read_only_root(kata):
    script = f"{WHOLE_SHARE} || exit 9; for root in /m/*/rootfs; do touch $root/new || exit 3; done"
    tmpfs = ("--mount", "type=tmpfs,src=tmpfs,dst=/m")
    spec = kata.default_spec("sh", "-c", script, flags=("--privileged", *tmpfs))
    spec["root"]["readonly"] = True
    result = kata.run_config(spec)

    assert result.code == 3, result.err
    assert "Read-only file system" in result.err
    assert not (kata.unpacked_rootfs() / "new").exists()


def test_a_read_only_root_gets_its_mount_points(kata, volume):
    root = kata.unpacked_rootfs()
    spec = kata.default_spec("sh", "-c", "cat /fresh/volume/file /fresh/one; pwd; touch /new",
                             flags=(*bind(volume, "rbind:ro", "/fresh/volume"), *bind(volume / "file", "bind:ro", "/fresh/one")))
    spec["root"]["readonly"] = True
    spec["process"]["cwd"] = "/fresh/work"
    try:
        result = kata.run_config(spec)
        assert result.out == b"top\ntop\n/fresh/work\n", result.err
        assert "Read-only file system" in result.err
    finally:
        for name in ("volume", "work"):
            (root / "fresh" / name).rmdir()
        (root / "fresh/one").unlink()
        (root / "fresh").rmdir()


@pytest.mark.parametrize("options, seen, writable", [
    ("rbind:rw", True, {"top", "sub"}), ("rbind:ro", True, {"sub"}), ("rbind:rro", True, set()),
    ("bind:rw", False, {"top"}), ("bind:ro", False, set())])
def test_mounts_below_a_bind_are_as_with_runc(kata, volume, options, seen, writable):
    script = """cat /v/sub/file; for at in /v/file /v/sub/file; do
          [ -e $at ] && (echo changed >$at) 2>/dev/null && echo wrote $at
        done; exit 0"""
    result = kata.run("sh", "-c", script, flags=bind(volume, options))

    assert (b"below" in result.out) == seen, result
    wrote = {"sub" if line.endswith("/sub/file") else "top" for line in result.out.decode().splitlines() if "wrote" in line}
    assert wrote == writable, result


def test_relative_source_is_in_the_bundle(kata):
    spec = kata.default_spec("cat", "/v")
    spec["mounts"].append({"type": "bind", "source": "config.json", "destination": "/v", "options": ["rbind", "ro"]})
    assert b'"destination":"/v"' in kata.run_config(spec).out


def test_unknown_option_of_a_bind_is_named(kata, volume):
    result = kata.run("true", flags=bind(volume, "rbind:r0"))

    assert result.code != 0
    assert 'mount option "r0" is not known' in result.err


def test_changes_of_the_host_are_seen_soon(kata, volume):
    """Whatever the guest has read before: the same number of bytes in place, more of them, another file by rename."""
    path = volume / "file"
    with kata.container(flags=bind(volume, "rbind:rw")) as identity:
        def sees(command, expected):
            harness.wait_for(lambda: kata.exec(identity, "sh", "-c", command).out.decode() == expected, f"{command}: {expected!r}", 60)
        sees("cat /v/file", "top\n")
        with open(path, "r+b") as file:
            file.write(b"new")
        sees("cat /v/file", "new\n")
        with open(path, "ab") as file:
            file.write(b"and more\n")
        sees("cat /v/file", "new\nand more\n")
        (volume / "other").write_text("replaced\n", encoding="utf-8")
        os.rename(volume / "other", path)
        sees("cat /v/file; ls /v", "replaced\nfile\nsub\n")
        (volume / "another").write_text("", encoding="utf-8")
        sees("ls /v", "another\nfile\nsub\n")
        (volume / "another").unlink()
        sees("ls /v", "file\nsub\n")
        # And what the container writes is there for the host at once.
        assert kata.exec(identity, "sh", "-c", "echo mine >/v/file").code == 0
        assert path.read_text(encoding="utf-8") == "mine\n"


def test_a_program_is_read_once(kata):
    """Not at each of its starts: the guest keeps its pages."""
    if os.environ.get("KATA_TEST_VIRTIOFSD") == "rust":
        pytest.skip("the virtiofsd in Rust has the guest forget them; see docs/limitations.md")
    with kata.container() as identity:
        def read_by_virtiofsd():
            pids = [pid for pid, line in harness.processes(identity).items() if line.split()[0].endswith("/virtiofsd")]
            return sum(int(harness.read(f"/proc/{pid}/io").split("rchar: ")[1].split()[0]) for pid in pids)
        starts = "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done"
        assert kata.exec(identity, "sh", "-c", starts).code == 0
        before = read_by_virtiofsd()
        assert before > 0
        assert kata.exec(identity, "sh", "-c", starts).code == 0

        assert read_by_virtiofsd() - before < os.stat("/bin/busybox").st_size


def test_containers_of_a_pod_have_the_same_files(kata, volume):
    """Fifos, locks and contents of a volume are between them, also for one that may only read it."""
    pod = kata.new_id("pod")
    one, two, reader = (f"{pod}-{name}" for name in ("one", "two", "reader"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(kata.container(identity=pod, flags=annotations("sandbox", pod)))
        for identity, options in ((one, "rbind:rw"), (two, "rbind:rw"), (reader, "rbind:ro")):
            flags = (*annotations("container", pod), *bind(volume, options))
            stack.enter_context(kata.container("sleep", "1000", identity=identity, flags=flags))

        for other in (two, reader):
            assert kata.exec(one, "sh", "-c", "rm -f /v/fifo; mkfifo /v/fifo; (echo through >/v/fifo) &").code == 0
            assert kata.exec(other, "cat", "/v/fifo").out == b"through\n"

        assert kata.exec(one, "sh", "-c", "flock /v/file sleep 1000 & until ! flock -n /v/file true; do :; done").code == 0
        assert kata.exec(two, "flock", "-n", "/v/file", "true").code == 1

        for number in range(20):  # the host's changes would take up to a second
            kata.exec(one, "sh", "-c", f"echo {number:02} >/v/file")
            for other in (two, reader):
                assert kata.exec(other, "cat", "/v/file").out == b"%02d\n" % number
        assert "Read-only file system" in kata.exec(reader, "touch", "/v/new").err
        kata.remove(one)
        assert kata.exec(two, "cat", "/v/file").out == b"19\n"
