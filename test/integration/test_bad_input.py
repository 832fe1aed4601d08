# SPDX-License-Identifier: Apache-2.0
"""Wrong input gives one line that names the thing, and nothing stays behind."""
import os
import shutil
import subprocess

import pytest

import harness
from changed_installation import CONFIGURATION, installation, one_line


@pytest.mark.parametrize("name", ["vmlinux", "kata-initrd.img"])
def test_missing_guest_file(kata, name):
    with installation(kata, lambda prefix: (prefix / "share/kata-containers" / name).unlink()) as other:
        result = other.run("true")

    assert result.code != 0
    one_line(result.err, name, "no such file")


def test_garbage_instead_of_a_configuration(kata):
    with installation(kata, lambda prefix: (prefix / CONFIGURATION).write_bytes(b"\x01 = [[\n")) as other:
        result = other.run("true")

    assert result.code != 0
    one_line(result.err, "configuration.toml")


@pytest.mark.parametrize("content", [b"{ this is not json", b"", b"[1, 2]"], ids=["garbage", "empty", "list"])
def test_garbage_in_the_bundle(kata, content):
    bundle = kata.directory / "garbage"
    bundle.mkdir()
    (bundle / "config.json").write_bytes(content)
    shim = kata.prefix / "bin" / "containerd-shim-kata-v2"
    environment = dict(os.environ, TTRPC_ADDRESS=kata.address + ".ttrpc")
    try:
        done = subprocess.run([shim, "-namespace", harness.NAMESPACE, "-address", kata.address, "-id", kata.new_id(),
                               "start"], cwd=bundle, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=harness.COMMAND_SECONDS,
                              check=False)
    finally:
        shutil.rmtree(bundle)

    assert done.returncode != 0
    one_line(done.stdout.decode(), "config.json")
