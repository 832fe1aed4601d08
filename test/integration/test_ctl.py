# SPDX-License-Identifier: Apache-2.0
"""kata-ctl, as it is installed: what the configuration is, where it comes from, and what is wrong with it."""
import json
import subprocess
import tomllib

import jsonschema
import pytest

import harness

CONFIGURATION = "share/defaults/kata-containers/configuration.toml"


def test_the_installed_configuration_is_good_and_fits_its_schema(ctl, prefix):
    file = prefix / CONFIGURATION
    assert f"read {file}" in ctl("config", "check", "--config", file)
    schema = json.loads(ctl("config", "schema"))
    values = tomllib.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    values["hypervisor"]["qemu"]["default_memry"] = 1
    with pytest.raises(jsonschema.ValidationError, match="default_memry"):
        jsonschema.validate(values, schema)


def test_what_is_shown_is_a_configuration_again(ctl, prefix, tmp_path):
    (tmp_path / "c.toml").write_text("[hypervisor.qemu]\ndefault_vcpus = 2\n"
                                     'enable_annotations = ["io.katacontainers.config.hypervisor.default_vcpus"]\n', encoding="utf-8")
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d/a.toml").write_text("[runtime]\nenable_debug = true\n", encoding="utf-8")
    words = ("config", "show", "--config", tmp_path / "c.toml", "--annotation", "hypervisor.default_vcpus=3")
    shown = ctl(*words)
    values = {entry["key"]: entry for entry in json.loads(ctl(*words, "--json"))}

    assert values["hypervisor.qemu.default_vcpus"] == {
        "key": "hypervisor.qemu.default_vcpus", "value": 3,
        "from": "annotation io.katacontainers.config.hypervisor.default_vcpus"}
    assert values["runtime.enable_debug"]["from"] == f"{tmp_path}/config.d/a.toml line 2"
    assert values["hypervisor.qemu.kernel"] == {"key": "hypervisor.qemu.kernel", "from": "default",
                                                "value": f"{prefix}/share/kata-containers/vmlinux"}
    (tmp_path / "again.toml").write_text(shown, encoding="utf-8")
    again = json.loads(ctl("config", "show", "--config", tmp_path / "again.toml", "--json"))
    assert {entry["key"]: entry["value"] for entry in again} == {key: entry["value"] for key, entry in values.items()}


def test_what_is_wrong_is_named(ctl, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("[hypervisor.qemu]\nkernle = 1\n", encoding="utf-8")
    assert f'"{file}" line 2: unknown key "kernle"' in ctl("config", "check", "--config", file, code=1)
    file.write_text(f'[hypervisor.qemu]\nkernel = "{tmp_path}/none"\n', encoding="utf-8")
    missing = ctl("config", "check", "--config", file, code=1)
    assert f'missing hypervisor.qemu.kernel ({file} line 2): "{tmp_path}/none": no such file' in missing
    denied = ctl("config", "show", "--config", file, "--annotation", "hypervisor.default_vcpus=3", code=1)
    assert "not enabled" in denied and "enable_annotations" in denied
    assert 'did you mean "kernel"?' in ctl("config", "explain", "kernl", code=1)


def test_a_key_is_explained(ctl):
    text = ctl("config", "explain", "default_memory")
    assert "MiB" in text and "default:    512" in text and "io.katacontainers.config.hypervisor.default_memory" in text


def findings(ctl, *words, code=0):
    return {entry["what"]: entry for entry in json.loads(ctl("check", "--json", *words, code=code).split("\nkata-ctl:")[0])}


def test_this_host_is_good(ctl, prefix, kata):
    found = findings(ctl, "--config", prefix / CONFIGURATION)

    for what in ("configuration", "path", "kernel", "initrd", "libvirt", "network", "cgroups"):
        assert found[what]["level"] == "good", found[what]
    assert found["accelerator"]["level"] in ("good", "note", "warning"), found
    own = [entry for entry in json.loads(ctl("check", "--json", "--config", prefix / CONFIGURATION))
           if entry["what"] == f"containerd {kata.process.pid}"]
    assert [entry["level"] for entry in own][0] == "good" and f"it finds {prefix}/bin/" in own[0]["text"], own
    assert len(own) == 2 and "files" in own[1]["text"]


def test_what_a_host_lacks_is_said_with_what_to_do(ctl, prefix, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(f'[hypervisor.qemu]\nkernel = "{tmp_path}/none"\nvirtio_fs_daemon = "/bin/true"\n', encoding="utf-8")
    found = findings(ctl, "--config", file, code=1)
    assert found["kernel"]["level"] == "error" and f"{tmp_path}/none" in found["kernel"]["text"] and found["kernel"]["fix"]
    assert found["virtiofsd"]["level"] == "error" and "no virtiofsd that the runtime knows" in found["virtiofsd"]["text"]
    text = ctl("check", "--config", file, code=1)
    assert "error    kernel:" in text and "do: name it by hypervisor.qemu.kernel" in text and "no pod will start here: 2 errors" in text
    file.write_text("[hypervisor.qemu]\nkernle = 1\n", encoding="utf-8")
    assert findings(ctl, "--config", file, code=1)["configuration"]["level"] == "error"


KATA_FILES = harness.REPOSITORY / "virtcontainers/test/kata_files"
HERE = {"path": "/usr/bin/qemu-system-x86_64", "kernel": "share/kata-containers/vmlinux", "virtio_fs_daemon": ""}


@pytest.mark.parametrize("version, wrong", [
    (3, {"image", "enable_annotations", "virtio_fs_extra_args", "disable_guest_seccomp"}),
    (4, {"image", "enable_annotations", "overhead_memory", "disable_guest_seccomp"})])
def test_a_file_of_katas_names_what_does_not_apply_and_then_works(kata, ctl, prefix, tmp_path, version, wrong):
    lines = (KATA_FILES / f"configuration-qemu-{version}.toml").read_text(encoding="utf-8").splitlines()
    places = {key: prefix / place if place else place for key, place in HERE.items()}
    lines = [f'{key} = "{places[key]}"' if (key := line.split(" ")[0]) in HERE else line for line in lines]
    file = tmp_path / "kata.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    said = ctl("config", "check", "--config", file, code=1)
    errors = [line for line in said.splitlines() if line.startswith("error ")]
    numbers = [int(line.split(" line ")[1].split(":")[0]) for line in errors]
    assert {lines[number - 1].split(" ")[0] for number in numbers} == wrong, said
    assert f"{len(wrong)} lines of the configuration cannot stay as they are" in said
    # A pod says the same.
    refused = kata.run("true", flags=("--runtime-config-path", file))
    assert all(line.removeprefix("error ") in refused.err for line in errors), refused

    for number in numbers:
        lines[number - 1] = ""
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "the configuration is good" in ctl("config", "check", "--config", file)
    assert kata.run("echo", "it runs", flags=("--runtime-config-path", file)).out == b"it runs\n"


def test_what_the_hosts_cgroups_cannot_do_is_named(prefix, tmp_path):
    """On a host with version 2 alone, as the command sees it in a mount namespace of its own."""
    file = tmp_path / "c.toml"
    file.write_text("[runtime]\nsandbox_cgroup_only = false\n", encoding="utf-8")
    host = 'umount --lazy --recursive /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", host, "sh", prefix / "bin/kata-ctl", "config", "check", "--config", file],
                          capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1 and f"error configuration {file} line 2: sandbox_cgroup_only = false needs" in done.stdout, done


def test_a_key_of_katas_is_explained(ctl):
    assert "a machine has no IOMMU" in ctl("config", "explain", "enable_iommu")
    assert "hypervisor.qemu.enable_debug or " in ctl("config", "explain", "enable_debug", code=1)
    assert "[runtime] create_container_timeout" in ctl("config", "explain", "agent.kata.create_container_timeout")


def test_debug_keys_bring_the_guests_own_words(kata):
    text = "[hypervisor.qemu]\nenable_debug = true\n[agent.kata]\nenable_debug = true\n[factory]\nenable_template = false\n"

    def lines(*words):
        return [line for line in harness.read(kata.log).splitlines() if all(word in line for word in words)]

    with kata.container(flags=kata.configured("debug", text)) as identity:
        assert lines("guest: ", "Run /init as init process", identity)
        made = harness.wait_for(lambda: lines("guest: ", f'container \\\\\\"{identity}'), "the agent's own line")
        assert "level=debug" in made[0].split("guest: ")[1]
