# SPDX-License-Identifier: Apache-2.0
"""The root file system and what is mounted on it."""
import contextlib
import os
import resource
import shutil
import stat
import subprocess

import pytest

from failures import told


@pytest.fixture
def shared(kata):
    """A directory of the host with one file."""
    directory = kata.directory / "volume"
    directory.mkdir()
    (directory / "file").write_text("from the host\n", encoding="utf-8")
    yield directory
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def test_rootfs_is_writable(kata):
    assert kata.run("sh", "-c", "echo x >/new && cat /new && rm /new").out == b"x\n"


def test_rootfs_changes_are_the_containers_own(kata):
    assert kata.run("touch", "/new").code == 0
    assert kata.run("ls", "/new").code != 0


def test_read_only_rootfs(kata):
    result = kata.run("touch", "/new", flags=("--read-only",))

    assert result.code != 0
    assert "Read-only file system" in result.err


def test_tmpfs_has_its_size(kata):
    result = kata.run("sh", "-c", "df -k /t | tail -n 1; dd if=/dev/zero of=/t/file bs=1000 count=2000",
                      flags=("--mount", "type=tmpfs,src=tmpfs,dst=/t,options=size=1m"))

    assert result.out.split()[1] == b"1024"
    assert "No space left" in result.err


def test_bind_mount_read_write(kata, shared):
    result = kata.run("sh", "-c", "cat /v/file; echo from the guest >/v/answer",
                      flags=("--mount", f"type=bind,src={shared},dst=/v,options=rbind:rw"))

    assert result.out == b"from the host\n", result.err
    assert (shared / "answer").read_text(encoding="utf-8") == "from the guest\n"


def test_bind_mount_read_only(kata, shared):
    result = kata.run("sh", "-c", "cat /v/file; echo no >/v/file",
                      flags=("--mount", f"type=bind,src={shared},dst=/v,options=rbind:ro"))

    assert result.out == b"from the host\n"
    assert "Read-only file system" in result.err
    assert (shared / "file").read_text(encoding="utf-8") == "from the host\n"


def test_bind_mount_of_one_file(kata, shared):
    result = kata.run("cat", "/etc/one", flags=("--mount", f"type=bind,src={shared}/file,dst=/etc/one,options=bind:ro"))

    assert result.out == b"from the host\n", result.err


def test_bind_mount_of_a_path_that_is_not_there(kata):
    result = kata.run("true", flags=("--mount", "type=bind,src=/there-is-no-such-path,dst=/v,options=rbind:ro"))

    assert result.code != 0
    assert "/there-is-no-such-path" in result.err
    told("The source of a volume is not there", result.err)


def test_rootfs_by_path_in_the_configuration(kata):
    assert kata.run_config(kata.default_spec("echo", "by path")).out == b"by path\n"


@contextlib.contextmanager
def memory_on_the_host(path, options):
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)
        path.rmdir()


def bind(source, target, options="rbind:rw"):
    return ("--mount", f"type=bind,src={source},dst={target},options={options}")


def test_files_below_dev_that_are_no_devices_are_the_hosts(kata):
    name = f"/dev/shm/{kata.token}"
    with open(name, "w", encoding="utf-8") as file:
        file.write("shared memory\n")
    try:
        one = kata.run("cat", "/one", flags=bind(name, "/one"))
        all_of_it = kata.run("cat", name, flags=bind("/dev/shm", "/dev/shm"))
    finally:
        os.unlink(name)

    assert (one.out, all_of_it.out) == (b"shared memory\n",) * 2, (one, all_of_it)


def test_devices_are_the_guests(kata):
    result = kata.run("sh", "-c", "ls /x/pts >/dev/null && head -c 4 /z | od -An -tx1", flags=(
        *bind("/dev", "/x"), *bind("/dev/zero", "/z", "bind:rw"), *bind("/dev/pts", "/y")))

    assert result.out.split() == [b"00"] * 4, result


def test_memory_volume_is_a_tmpfs_of_the_guest(kata):
    path = kata.directory / "pods/uid/volumes/kubernetes.io~empty-dir/cache"
    with memory_on_the_host(path, "size=1m,mode=2777,gid=2000") as volume:
        (volume / "sub").mkdir()
        (volume / "sub").chmod(0o750)
        sub = (volume / "sub").stat()  # its group is the volume's, which has the set-group-ID bit
        assert (stat.S_IMODE(sub.st_mode), sub.st_gid) == (0o750, 2000)
        result = kata.run("sh", "-c", "stat -f -c %T /cache; stat -c '%a %g' /cache /sub; df -k /cache | tail -n 1; echo x >/sub/file; "
                          "cat /cache/sub/file; dd if=/dev/zero of=/cache/big bs=1000 count=2000",
                          flags=(*bind(volume, "/cache"), *bind(volume / "sub", "/sub")))
        on_the_host = [path.name for path in volume.rglob("*")]

    lines = result.out.decode().splitlines()
    assert lines[:3] == ["tmpfs", "2777 2000", "750 2000"], result
    assert lines[3].split()[1] == "1024", result
    assert lines[4] == "x", result
    assert "No space left" in result.err
    assert on_the_host == ["sub"]


def test_memory_volume_with_files_is_shared(kata):
    path = kata.directory / "pods/uid/volumes/kubernetes.io~empty-dir/filled"
    with memory_on_the_host(path, "size=1m") as volume:
        (volume / "file").write_text("from the host\n", encoding="utf-8")
        result = kata.run("sh", "-c", "cat /cache/file; echo back >/cache/back", flags=bind(volume, "/cache"))
        back = (volume / "back").read_text(encoding="utf-8")

    assert (result.out, back) == (b"from the host\n", "back\n"), result


def test_walk_over_more_files_than_the_host_holds_open(kata):
    """The agent makes the guest forget files in time; see docs/limitations.md."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = 60_000
    if limit > count:
        pytest.skip(f"the host holds {limit} files open")
    directory = kata.directory / "many"
    for i in range(count):
        if i % 1000 == 0:
            (directory / str(i)).mkdir(parents=True)
        with open(directory / str(i - i % 1000) / str(i), "wb"):
            pass
    try:
        result = kata.run("sh", "-c", "ls -lR /many | grep -c '^-'; ls / >/dev/null", flags=bind(directory, "/many"))
    finally:
        shutil.rmtree(directory)

    assert result == (0, b"%d\n" % count, ""), result
