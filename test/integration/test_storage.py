# SPDX-License-Identifier: Apache-2.0
"""The root file system and what is mounted on it."""
import pytest


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


def test_rootfs_by_path_in_the_configuration(kata):
    assert kata.run_config(kata.default_spec("echo", "by path")).out == b"by path\n"
