# SPDX-License-Identifier: Apache-2.0
"""Containers with a user namespace: `ctr --uidmap`, and idmapped volumes."""
import os

import pytest

FIRST = 100000
MAPPING = [{"containerID": 0, "hostID": FIRST, "size": 65536}]


@pytest.fixture
def mapped(kata, tmp_path):
    """A configuration with a user namespace and a rootfs that belongs to its root."""
    root = kata.rootfs_of(FIRST, tmp_path / "rootfs")
    for path in (tmp_path, *tmp_path.parents):
        if str(path).startswith("/tmp/"):
            path.chmod(0o755)
    spec = kata.default_spec("true")
    spec["root"] = {"path": str(root)}
    spec["linux"]["namespaces"].append({"type": "user"})
    spec["linux"]["uidMappings"] = spec["linux"]["gidMappings"] = MAPPING
    return spec


def run(kata, spec, script):
    spec["process"]["args"] = ["sh", "-c", script]
    result = kata.run_config(spec)
    assert result.code == 0, result.err
    return result.out.decode().splitlines()


def test_root_of_a_user_namespace(kata, mapped):
    script = "id -u; tr -s ' ' </proc/self/uid_map; stat -c %u:%g /bin/busybox; echo x >/dev/null && echo null; " \
             "touch /new && stat -c %u /new; test -d /sys/kernel && echo sys; echo out >/dev/stderr"
    assert run(kata, mapped, script) == ["0", f" 0 {FIRST} 65536", "0:0", "null", "0", "sys"]
    assert os.stat(f"{mapped['root']['path']}/new").st_uid == FIRST


def test_another_user_and_its_streams(kata, mapped):
    mapped["process"]["user"] = {"uid": 1000, "gid": 1000}

    assert run(kata, mapped, "id -u; echo reopened >/dev/stdout") == ["1000", "reopened"]


def test_exec_joins_the_user_namespace(kata):
    flags = ("--uidmap", f"0:{FIRST}:65536", "--gidmap", f"0:{FIRST}:65536")
    with kata.container("sleep", "1000", flags=flags) as identity:
        result = kata.exec(identity, "sh", "-c", "id -u; tr -s ' ' </proc/self/uid_map; stat -c %u /bin")
        assert result.out.decode().splitlines() == ["0", f" 0 {FIRST} 65536", "0"], result.err


def test_what_the_root_of_a_user_namespace_may_not_set(kata, mapped):
    mapped["process"]["oomScoreAdj"] = -500
    mapped["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 1048576}]
    mapped["linux"]["sysctl"] = {"kernel.msgmax": "4321"}
    mapped["root"]["readonly"] = True
    script = "cat /proc/self/oom_score_adj /proc/sys/kernel/msgmax; ulimit -n; touch /new 2>/dev/null || echo read-only; " \
             "echo -600 2>/dev/null >/proc/self/oom_score_adj || echo no lower"

    assert run(kata, mapped, script) == ["-500", "4321", "123", "read-only", "no lower"]


def test_a_volume_shows_its_owners_mapped(kata, mapped, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "file").write_text("x", encoding="utf-8")
    mapped["mounts"].append({"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind", "rw"],
                             "uidMappings": MAPPING, "gidMappings": MAPPING})

    assert run(kata, mapped, "stat -c %u /volume/file; touch /volume/made; stat -c %u /volume/made") == ["0", "0"]
    assert os.stat(volume / "made").st_uid == 0
