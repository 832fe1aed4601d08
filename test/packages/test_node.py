# SPDX-License-Identifier: Apache-2.0
"""A node's life with the packages, in a fresh tree of each Debian release: installed, upgraded under pods, purged."""
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

import harness
from tree import Tree

NAMES = ("kata-containers", "kata-containers-guest", "kata-ctl")
# What they need from a release, so that a look before them and one after them differ by theirs alone.
NEEDED = ("libvirt-daemon-driver-qemu", "qemu-system-x86", "qemu-system-data", "qemu-system-common", "e2fsprogs",
          "containerd", "libnl-3-200", "libnl-route-3-200", "libxml2")
NEEDED_BESIDES = {"bookworm": (), "trixie": ("virtiofsd",)}
SUITES = os.environ.get("KATA_PACKAGES_SUITES", "bookworm trixie").split()
CONFIGURATION = "/etc/kata-containers"
SHIM = "containerd-shim-kata-v2"
GONE_SECONDS = 60
EXECS = 60  # of which a third would fail on Debian 13 if the guest ran code that is not there any more (decision 26)
# Of apt, dpkg, the linker and containerd; the users' backup files.
NOT_OURS = re.compile(r"/(proc|sys|dev|run|tmp|host|packages|opt/containerd)(/|$)"
                      r"|/var/(lib/(dpkg|apt|containerd)|cache/(apt|ldconfig|debconf)|log)(/|$)"
                      r"|/etc/(ld\.so\.cache|passwd-|group-|shadow-|gshadow-|subuid-|subgid-|\.pwd\.lock)$"
                      r"|/containerd\.log$|/busybox\.tar$")
USERS = ("passwd", "group", "shadow", "gshadow")


def run(*command):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True).stdout


def next_version(deb, directory):
    """The package with a higher version, and programs that say that they are of another commit."""
    unpacked = directory / "unpacked"
    run("dpkg-deb", "--raw-extract", deb, unpacked)
    control = unpacked / "DEBIAN/control"
    text = control.read_text(encoding="utf-8")
    version = re.search(r"^Version: (.*)$", text, re.MULTILINE)[1]
    control.write_text(text.replace(version, f"{version}+next"), encoding="utf-8")
    commit = re.search(r"\.([0-9a-f]{8})", version)[1].encode()
    for program in [*unpacked.glob("usr/bin/*"), *unpacked.glob("usr/libexec/*/*")]:
        data = program.read_bytes()
        assert commit in data
        program.write_bytes(data.replace(commit, commit[::-1]))
    sums = [f"{run('md5sum', path).split()[0]}  {path.relative_to(unpacked)}\n"
            for path in sorted(unpacked.rglob("*")) if path.is_file() and "DEBIAN" not in path.parts]
    (unpacked / "DEBIAN/md5sums").write_text("".join(sums), encoding="utf-8")
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", unpacked,
        directory / deb.name.replace(version, f"{version}+next"))
    shutil.rmtree(unpacked)


@pytest.fixture(scope="module", name="packages")
def both_versions(tmp_path_factory):
    """A directory with `now` and `next`."""
    directory = tmp_path_factory.mktemp("packages")
    stage = pathlib.Path(os.environ.get("KATA_PREFIX", harness.REPOSITORY / "build/stage"))
    for path in run(harness.REPOSITORY / "tools/package/build", "--stage", stage, directory / "now").split():
        (directory / "next").mkdir(exist_ok=True)
        next_version(pathlib.Path(path), directory / "next")
    return directory


@pytest.fixture(scope="module", name="node", params=SUITES)
def fresh_node(request, packages):
    """A tree with what they need, and nothing of them."""
    with Tree(request.param, packages) as tree:
        tree.run("apt-get", "update", "-qq")
        tree.install(*NEEDED, *NEEDED_BESIDES[request.param])
        tree.start_containerd()
        yield tree


def debs(node, version):
    return sorted(f"/packages/{version}/{path.name}" for path in (node.packages / version).iterdir())


def install(node, version):
    """That version, whatever was there."""
    node.run("dpkg", "--purge", *NAMES)
    return node.install(*debs(node, version))


def state_of(node):
    """Every file that is there, and every user."""
    paths = {path for path in node.run("find", "/", "-xdev").splitlines() if not NOT_OURS.match(path)}
    return paths, {name: sorted(node.run("cat", f"/etc/{name}").splitlines()) for name in USERS}


def shims(node, name=""):
    return node.processes(SHIM, f"-id {name}")


def machines(node, name=""):
    """Of a pod; without a name the one that a template is made of is among them."""
    return node.processes("qemu-system-", f"guest={name}")


def is_alive(node, name):
    return node.try_run("ctr", "task", "exec", "--exec-id", f"{time.monotonic_ns()}", name, "echo", "alive").out == "alive\n"


def test_a_container_runs_without_a_compiler(node):
    install(node, "now")
    for program in ("cc", "gcc", "c++", "clang", "clang-16", "cmake"):
        assert node.try_run("sh", "-c", f"command -v {program}").code != 0, program
    assert node.container("first", "uname", "-r").strip() != os.uname().release
    assert node.container("second", "cat", "/proc/1/comm", flags=("--rm", "--env", "A=b")).strip() == "cat"
    checked = node.run("kata-ctl", "check")  # ends with 1 when no pod would start
    assert "/usr/bin/containerd-shim-kata-v2" in checked
    assert "/etc/kata-containers/configuration.toml" in node.run("kata-ctl", "config", "check")


def test_each_program_starts(node):
    install(node, "now")
    with node.pod("many"):
        answers = [is_alive(node, "many") for _ in range(EXECS)]
    assert answers == [True] * EXECS, f"{answers.count(False)} of {EXECS} have failed"
    harness.wait_for(lambda: not shims(node) and not machines(node), "the pod to go", GONE_SECONDS)


def test_an_upgrade_leaves_pods_alone(node):
    """Pods of before go on with their shim; new ones have the new one, which cleans up after an old one that dies."""
    install(node, "now")
    before = node.run(SHIM, "-v")
    with node.pod("kept"), node.pod("doomed"):
        of_kept, of_doomed = ((*shims(node, name), *machines(node, name)) for name in ("kept", "doomed"))
        assert len(of_kept) == len(of_doomed) == 2
        said = node.install(*debs(node, "next"))
        assert "+next" in node.installed()["kata-containers"] and "restart" not in said

        assert node.run(SHIM, "-v") != before
        assert of_kept == (*shims(node, "kept"), *machines(node, "kept"))
        assert of_doomed == (*shims(node, "doomed"), *machines(node, "doomed"))
        assert is_alive(node, "kept")
        with node.pod("new"):
            new, = shims(node, "new")
            assert node.run("readlink", f"/proc/{new}/exe") == f"/usr/bin/{SHIM}\n"
            assert node.run("readlink", f"/proc/{of_kept[0]}/exe") == f"/usr/bin/{SHIM} (deleted)\n"
            assert is_alive(node, "new")

        node.run("sh", "-c", f"kill -KILL {of_doomed[0]}")
        harness.wait_for(lambda: not machines(node, "doomed"), "the machine of the dead shim to go", GONE_SECONDS)
        assert is_alive(node, "kept")
    harness.wait_for(lambda: not shims(node) and not machines(node), "all pods to go", GONE_SECONDS)
    assert not re.search("kept|doomed", node.run("sh", "-c", "ls /run/kata-containers /run/kata-containers/shared"))


def test_configuration_of_the_node_survives_an_upgrade_and_counts(node):
    install(node, "now")
    node.run("sh", "-c", f"printf '[hypervisor.qemu]\\ndefault_memory = 300\\n' >{CONFIGURATION}/config.d/node.toml")
    node.install(*debs(node, "next"))
    assert node.run("kata-ctl", "config", "show").count("default_memory = 300") == 1


def test_a_purge_under_a_pod_says_so_and_takes_nothing_from_it(node):
    install(node, "now")
    with node.pod("last"):
        pid, = shims(node)
        done = node.try_run("apt-get", "purge", "-y", *NAMES)
        assert done.code == 0
        assert f"a pod still runs (process {pid})" in done.out + done.err
        assert "left in place: /run/kata-containers" in done.out + done.err
        assert is_alive(node, "last")
    harness.wait_for(lambda: not shims(node) and not machines(node), "the pod to go", GONE_SECONDS)


def test_a_purge_leaves_nothing(node):
    install(node, "now")
    node.run("apt-get", "purge", "-y", *NAMES)
    files, users = state_of(node)
    node.install(*debs(node, "now"))
    node.container("only", "true")
    node.run("sh", "-c", f"cd {CONFIGURATION}; echo '# a note' >>configuration.toml; echo '# one' >config.d/one.toml")
    harness.wait_for(lambda: not shims(node), "the pod to go", GONE_SECONDS)
    assert state_of(node)[0] != files
    node.run("apt-get", "remove", "-y", *NAMES)
    assert node.try_run("test", "-e", f"{CONFIGURATION}/config.d/one.toml").code == 0
    node.run("apt-get", "purge", "-y", *NAMES)

    assert state_of(node) == (files, users)
    assert not [path for path in files if re.search(r"\bkata\b", path)]
    assert "kata" not in node.run("sh", "-c", "ls /run; dpkg -l | grep kata || true")
