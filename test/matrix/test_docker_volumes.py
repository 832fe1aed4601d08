# SPDX-License-Identifier: Apache-2.0
"""Volumes as docker's users name them: -v, --mount, --tmpfs, named volumes, and docker cp into them while they are used."""
import pytest


@pytest.fixture
def volume(docker):
    """A named volume, which goes with the test."""
    name = docker.docker("volume", "create").out.decode().strip()
    yield name
    gone = docker.docker("volume", "rm", name)
    assert gone.code == 0, gone.err


def test_a_named_volume_keeps_its_files(docker, volume):
    write = docker.run("sh", "-c", "echo kept >/data/file; mkdir /data/sub; chmod 2750 /data/sub; ln -s file /data/link",
                       flags=("-v", f"{volume}:/data"))
    read = docker.run("sh", "-c", "cat /data/link; stat -c %a /data/sub; touch /data/no 2>/dev/null || echo read-only",
                      flags=("--mount", f"type=volume,source={volume},target=/data,readonly"))

    assert write.code == 0, write.err
    assert read.out == b"kept\n2750\nread-only\n", read


def test_two_containers_have_one_volume(docker, volume):
    with docker.container(flags=("-v", f"{volume}:/data")) as one, docker.container(flags=("-v", f"{volume}:/other")) as two:
        assert docker.exec(one, "sh", "-c", "echo from one >/data/file").code == 0
        assert docker.exec(two, "cat", "/other/file").out == b"from one\n"


def test_a_new_volume_has_the_files_of_the_image(docker, volume):
    result = docker.run("sh", "-c", "ls /bin | wc -l; ls /copy | wc -l", flags=("-v", f"{volume}:/copy"))
    count, empty = result.out.split()
    assert int(count) > 10 and empty == b"0"

    result = docker.run("/bin/busybox", "ls", "/bin", flags=("-v", f"{volume}:/bin"))
    assert len(result.out.split()) == int(count), result


def test_bind_by_mount_of_a_file_and_of_a_directory_below_it(docker, tmp_path):
    (tmp_path / "file").write_text("one file\n", encoding="utf-8")
    (tmp_path / "directory/deep").mkdir(parents=True)
    result = docker.run("sh", "-c", "cat /etc/settings; echo x 2>/dev/null >/etc/settings || echo refused; touch /d/deep/new",
                        flags=("--mount", f"type=bind,source={tmp_path}/file,target=/etc/settings,readonly",
                               "--mount", f"type=bind,source={tmp_path}/directory,target=/d"))

    assert result.out == b"one file\nrefused\n", result
    assert (tmp_path / "directory/deep/new").exists()


def test_a_bind_whose_source_is_missing_is_named(docker, tmp_path):
    result = docker.run("true", flags=("--mount", f"type=bind,source={tmp_path}/missing,target=/d"))

    assert result.code != 0
    assert f"{tmp_path}/missing" in result.err


def test_tmpfs_has_its_size_and_mode(docker):
    result = docker.run("sh", "-c", "stat -f -c %T /t; stat -c %a /t; df -k /t | tail -n 1; dd if=/dev/zero of=/t/big bs=1M count=4 2>&1",
                        flags=("--mount", "type=tmpfs,target=/t,tmpfs-size=2m,tmpfs-mode=1770"))

    kind, mode, line, *rest = result.out.decode().splitlines()
    assert (kind, mode, line.split()[1]) == ("tmpfs", "1770", "2048"), result
    assert any("No space left" in text for text in rest)


def test_copies_both_ways_while_a_volume_is_used(docker, volume, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("from the host\n", encoding="utf-8")
    with docker.container(flags=("-v", f"{volume}:/data")) as identity:
        assert docker.exec(identity, "sh", "-c", "echo from the guest >/data/out").code == 0
        into = docker.docker("cp", f"{tmp_path}/in/.", f"{identity}:/data")
        out = docker.docker("cp", f"{identity}:/data/out", tmp_path / "out")

        assert (into.code, out.code) == (0, 0), (into.err, out.err)
        assert docker.exec(identity, "cat", "/data/file").out == b"from the host\n"
        assert (tmp_path / "out").read_text(encoding="utf-8") == "from the guest\n"
