# SPDX-License-Identifier: Apache-2.0
"""kata-ctl, as it is installed: what the configuration is, where it comes from, and what is wrong with it."""
import json
import subprocess
import tomllib

import jsonschema
import pytest

CONFIGURATION = "share/defaults/kata-containers/configuration.toml"


@pytest.fixture
def ctl(prefix):
    """Runs it to its end with that exit code; the value is what it has said, errors after the rest."""
    def run(*words, code=0):
        done = subprocess.run([prefix / "bin/kata-ctl", *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done
        return done.stdout + done.stderr
    return run


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
