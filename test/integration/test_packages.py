# SPDX-License-Identifier: Apache-2.0
"""Debian packages made of the installation, and the drop-ins for those that start the shim.

`test/run packages` installs them.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import harness
from cri import major_version

CONFIGS = harness.REPOSITORY / "configs"
PROFILE = CONFIGS / "apparmor/usr.bin.containerd-shim-kata-v2"
NAMES = ["kata-containers", "kata-containers-guest", "kata-ctl"]
# With the same name in Debian 12 and 13; what else a program wants it has in it.
LIBRARIES = {"libc6", "libgcc-s1", "libmount1", "libnl-3-200", "libnl-route-3-200", "libstdc++6", "libsystemd0",
             "libvirt0", "libxml2"}
START_SECONDS = 60
pytestmark = pytest.mark.skipif(not (harness.REPOSITORY / ".git").exists(), reason="the version is the commit's")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", name="debs")
def packages(prefix, tmp_path_factory):
    """{name: path}"""
    out = tmp_path_factory.mktemp("packages")
    run(harness.REPOSITORY / "tools/package/build", "--stage", prefix, out)
    return {path.name.split("_")[0]: path for path in out.iterdir()}


def field(deb, name):
    return run("dpkg-deb", "--field", deb, name).strip()


def names_of(relation):
    return set(re.findall(r"(?:^|[,|])\s*([\w.+-]+)", relation))


def test_lintian_has_nothing_to_say(debs):
    assert run("lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", "--allow-root",
               *debs.values()) == ""


def test_all_are_of_one_version_and_need_each_other(debs, prefix):
    assert sorted(debs) == NAMES
    version, = {field(deb, "Version") for deb in debs.values()}
    said = run(prefix / "bin/containerd-shim-kata-v2", "-v")
    number, commit = re.fullmatch(r"containerd-shim-kata-v2 (\S+), commit (\w{8})\S*\n", said).groups()
    assert version == number or version.startswith(f"{number}~git") and commit in version
    assert f"kata-containers-guest (= {version})" in field(debs["kata-containers"], "Depends")
    assert f"kata-containers (= {version})" in field(debs["kata-ctl"], "Depends")


def test_they_need_only_what_both_releases_have(debs):
    ours = {"kata-containers", "kata-containers-guest", "libvirt-daemon-driver-qemu", "qemu-system-x86",
            "qemu-system-data", "qemu-system-common", "virtiofsd", "e2fsprogs", "passwd"}
    needed = set().union(*(names_of(field(deb, "Depends")) for deb in debs.values()))
    assert needed - ours <= LIBRARIES
    assert ours <= needed


def test_what_is_in_them(debs, tmp_path):
    for deb in debs.values():
        run("dpkg-deb", "-x", deb, tmp_path)
    for name in ("usr/bin/kata-ctl", "usr/share/kata-containers/vmlinux", "usr/share/kata-containers/kata-initrd.img",
                 "usr/libexec/kata-containers/kata-template", "usr/share/kata-containers/containerd/config-v3.toml",
                 "usr/share/man/man8/kata-ctl.8.gz", "usr/share/doc/kata-containers/install.md"):
        assert (tmp_path / name).is_file(), name
    assert run(tmp_path / "usr/bin/containerd-shim-kata-v2", "-v").startswith("containerd-shim-kata-v2 ")
    # The file in /etc says nothing of itself, so that an upgrade never asks whose is to stay.
    of_node = tmp_path / "etc/kata-containers/configuration.toml"
    assert json.loads(run(tmp_path / "usr/bin/kata-ctl", "config", "show", "--json", "--config", of_node))
    assert not re.search(r"^[^#\n]", harness.read(of_node), re.MULTILINE)
    conffiles = run("dpkg-deb", "--info", debs["kata-containers"], "conffiles").split()
    files = [path for path in (tmp_path / "etc").rglob("*") if path.is_file()]
    assert sorted(conffiles) == sorted(f"/{path.relative_to(tmp_path)}" for path in files)


@pytest.mark.parametrize("mode", ["complain", "enforce"])
def test_apparmor_takes_the_profiles(mode, tmp_path):
    text = PROFILE.read_text(encoding="utf-8")
    if mode == "enforce":
        text, count = re.subn(r"\bcomplain, ", "", text)
        assert count == 3
    path = tmp_path / "profile"
    path.write_text(text, encoding="utf-8")
    run("apparmor_parser", "--skip-kernel-load", "--skip-cache", path)
    assert run("apparmor_parser", "--names", path).split() == ["containerd-shim-kata-v2", "kata-qemu", "kata-virtiofsd"]


def dump(config, *imports, tmp_path):
    """What containerd makes of a configuration with these drop-ins."""
    path = tmp_path / "config.toml"
    path.write_text(f"imports = {json.dumps([str(name) for name in imports])}\n{config}", encoding="utf-8")
    return run(harness.CONTAINERD, "--config", path, "config", "dump")


def runtime_of(text, name):
    """The lines of a runtime's table in containerd's dump."""
    table = re.search(rf"""^ *\[plugins\.\S+\.containerd\.runtimes\.{name}\]\n((?: *\w.*\n)+)""", text, re.MULTILINE)
    return table[1].replace("'", '"') if table else ""


@pytest.mark.skipif(major_version() < 1, reason="needs containerd")
def test_containerd_takes_the_drop_in_of_version_2(tmp_path):
    dumped = dump("version = 2", CONFIGS / "containerd/config-v2.toml", tmp_path=tmp_path)
    kata = runtime_of(dumped, "kata")
    assert 'runtime_type = "io.containerd.kata.v2"' in kata
    assert 'pod_annotations = ["io.katacontainers.*"]' in kata
    assert "privileged_without_host_devices = true" in kata
    assert runtime_of(dumped, "runc")


@pytest.mark.skipif(major_version() < 2, reason="version 3 is containerd 2's")
@pytest.mark.parametrize("name, sandboxer", [("config-v3.toml", "podsandbox"), ("config-v3-sandbox.toml", "shim")])
def test_containerd_takes_the_drop_ins_of_version_3(name, sandboxer, tmp_path):
    own = '[plugins."io.containerd.cri.v1.runtime"]\n  drain_exec_sync_io_timeout = "7s"\n'
    dumped = dump(f"version = 3\n{own}", CONFIGS / "containerd" / name, tmp_path=tmp_path).replace("'", '"')
    kata = runtime_of(dumped, "kata")
    assert 'runtime_type = "io.containerd.kata.v2"' in kata
    assert f'sandboxer = "{sandboxer}"' in kata
    assert runtime_of(dumped, "runc")
    assert 'drain_exec_sync_io_timeout = "7s"' in dumped  # what stood there before stays


@pytest.mark.skipif(major_version() < 1, reason="needs containerd")
def test_cri_loads_with_the_tables_in_its_own_configuration(tmp_path):
    """As how-to.md says for containerd 1, after what Debian's package has."""
    directory = pathlib.Path("/run") / f"kt{os.getpid()}p"
    directory.mkdir(mode=0o711)
    own = (f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
           f'[grpc]\n  address = "{directory}/containerd.sock"\n'
           f'[plugins."io.containerd.internal.v1.opt"]\n  path = "{directory}/opt"\n'
           '[plugins."io.containerd.grpc.v1.cri".cni]\n  bin_dir = "/usr/lib/cni"\n')
    text = harness.read(CONFIGS / "containerd/config-v2.toml")
    tables = text.partition("version = 2\n")[2]
    (directory / "config.toml").write_text(own + tables, encoding="utf-8")
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(["unshare", "-n", harness.CONTAINERD, "--config", directory / "config.toml"],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        def listed():
            done = subprocess.run([harness.CTR, "--address", directory / "containerd.sock", "plugins", "ls"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
            return [line for line in done.stdout.splitlines() if re.match(r"io\.containerd\.grpc\.v1\s+cri\s", line)]
        line, = harness.wait_for(listed, "containerd's plugins", START_SECONDS)
        assert line.split()[-1] == "ok", harness.read(directory / "log")
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)
        shutil.rmtree(directory)


def test_the_runtime_class_has_the_handler_of_the_drop_ins():
    text = harness.read(CONFIGS / "kubernetes/runtimeclass.yaml")
    handler = re.search(r"^handler: (\w+)$", text, re.MULTILINE)[1]
    for path in (CONFIGS / "containerd").iterdir():
        assert f".runtimes.{handler}]" in path.read_text(encoding="utf-8"), path
