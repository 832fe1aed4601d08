# SPDX-License-Identifier: Apache-2.0
"""Identity, capabilities and limits, seen from inside."""
import json

from failures import told

CAPABILITY_NUMBERS = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_ADMIN": 21}


def status_of(result):
    """The fields of /proc/self/status."""
    assert result.code == 0, result.err
    return dict(line.split(":\t", 1) for line in result.out.decode().splitlines() if ":\t" in line)


def mask(names):
    return sum(1 << CAPABILITY_NUMBERS[name] for name in names)


def test_user_groups_and_umask(kata):
    spec = kata.default_spec("cat", "/proc/self/status")
    spec["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [2000, 3000], "umask": 0o27}

    status = status_of(kata.run_config(spec))

    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1001"] * 4
    assert status["Groups"].split() == ["2000", "3000"]
    assert status["Umask"] == "0027"


def test_capabilities_are_exactly_those_of_the_configuration(kata):
    spec = kata.default_spec("cat", "/proc/self/status")
    wanted = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    spec["process"]["capabilities"] = {"bounding": wanted, "permitted": wanted, "effective": wanted[:2]}

    status = status_of(kata.run_config(spec))

    assert int(status["CapBnd"], 16) == mask(wanted)
    assert int(status["CapPrm"], 16) == mask(wanted)
    # root's execve raises all permitted capabilities
    assert int(status["CapEff"], 16) == mask(wanted)
    assert int(status["CapInh"], 16) == 0


def test_unprivileged_user_has_no_capabilities(kata):
    spec = kata.default_spec("cat", "/proc/self/status")
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}

    assert int(status_of(kata.run_config(spec))["CapEff"], 16) == 0


def test_no_new_privileges_and_rlimits(kata):
    spec = kata.default_spec("sh", "-c", "cat /proc/self/status; ulimit -n")
    spec["process"]["noNewPrivileges"] = True
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}]

    result = kata.run_config(spec)

    assert status_of(result)["NoNewPrivs"] == "1"
    assert result.out.decode().splitlines()[-1] == "123"


def test_limits_that_nobody_sets_are_those_of_a_service_of_the_host(kata):
    spec = kata.default_spec("sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc; cat /proc/self/limits")
    spec["process"]["rlimits"] = []

    lines = kata.run_config(spec).out.decode().splitlines()

    assert lines[:4] == ["1048576", "1048576", "unlimited", "unlimited"]
    assert next(line for line in lines if line.startswith("Max processes")).split()[2:4] == ["unlimited"] * 2


def test_the_oom_score_is_the_specs(kata):
    spec = kata.default_spec("cat", "/proc/self/oom_score_adj")
    assert kata.run_config(spec).out == b"0\n"

    spec["process"]["oomScoreAdj"] = 321
    assert kata.run_config(spec).out == b"321\n"


def test_hostname_and_sysctl(kata):
    spec = kata.default_spec("sh", "-c", "hostname; cat /proc/sys/kernel/shmmni")
    spec["hostname"] = "a-name"
    spec["linux"]["sysctl"] = {"kernel.shmmni": "77"}

    assert kata.run_config(spec).out == b"a-name\n77\n"


def test_pids_limit_bites(kata):
    spec = kata.default_spec("sh", "-c", "for i in $(seq 20); do sleep 100 & done; echo all")
    spec["linux"].setdefault("resources", {})["pids"] = {"limit": 8}

    result = kata.run_config(spec)

    assert b"all" not in result.out
    told("A program cannot fork", result.err)


def test_memory_limit_bites(kata):
    result = kata.run("sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1; echo code $?",
                      flags=("--memory-limit", str(32 << 20)))

    assert b"code 137" in result.out, result


def test_masked_and_read_only_paths(kata):
    spec = kata.default_spec("sh", "-c", "wc -c </proc/version; ls /proc/sys/vm; echo 1 >/proc/sys/kernel/panic")
    spec["linux"]["maskedPaths"] = ["/proc/version", "/proc/sys/vm", "/proc/there-is-no-such-file"]

    result = kata.run_config(spec)

    assert result.out.strip() == b"0"
    assert "Read-only file system" in result.err


def test_devices_outside_the_list_are_refused(kata):
    result = kata.run("sh", "-c", "mknod /tmp/d c 1 11 && cat /tmp/d", flags=("--cap-add", "CAP_MKNOD"))

    assert result.code != 0
    assert "Operation not permitted" in result.err


def test_seccomp_refuses_a_call(kata):
    profile = kata.directory / "seccomp.json"
    profile.write_text(json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }), encoding="utf-8")

    result = kata.run("sh", "-c", "touch /tmp/file && mkdir /tmp/directory",
                      flags=("--seccomp", "--seccomp-profile", profile))

    assert result.code != 0
    assert "Operation not supported" in result.err or "Not supported" in result.err
