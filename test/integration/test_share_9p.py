# SPDX-License-Identifier: Apache-2.0
"""The fallback share, 9p, chosen by the caller's own configuration file. It is for reading: mount points are there."""
import pytest



@pytest.fixture
def configuration(kata):
    path = kata.directory / "9p.toml"
    default = (kata.prefix / "share/defaults/kata-containers/configuration.toml").read_text(encoding="utf-8")
    assert 'shared_fs = "virtio-fs"' in default
    text = default.replace('shared_fs = "virtio-fs"', 'shared_fs = "virtio-9p"').replace("@PREFIX@", str(kata.prefix))
    path.write_text(text, encoding="utf-8")
    yield path
    path.unlink()


def test_container_runs_on_a_9p_share(kata, configuration):
    result = kata.run("sh", "-c", "grep -m1 ' / ' /proc/mounts; cat /etc/passwd | wc -l; exit 7",
                      flags=("--runtime-config-path", configuration))
    assert result.code == 7, f"{result.err}\n{kata.log_tail()}"
    assert b" / 9p " in result.out, result.out


def test_bind_mount_can_be_read(kata, configuration):
    source = kata.directory / "volume"
    source.mkdir()
    (source / "file").write_text("from the host\n", encoding="utf-8")
    try:
        result = kata.run("cat", "/tmp/file",
                          flags=("--runtime-config-path", configuration,
                                 "--mount", f"type=bind,src={source},dst=/tmp,options=rbind:ro"))
        assert result.out == b"from the host\n", f"{result.err}\n{kata.log_tail()}"
    finally:
        (source / "file").unlink()
        source.rmdir()
