# SPDX-License-Identifier: Apache-2.0
"""tools/install-packages with the real apt and dpkg, on a system of its own in a directory."""
import os
import pathlib
import shutil
import signal
import subprocess
import textwrap
import time

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="dpkg needs root")


class System:
    """A root directory with dpkg's database, and a repository of packages made here."""

    def __init__(self, directory):
        self.root = directory / "root"
        self.repository = directory / "repository"
        self.tools = directory / "tools"
        for path in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "usr/bin", "usr/sbin", "var/lib/dpkg/info",
                     "var/lib/dpkg/updates", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt",
                     "run", "tmp", "bin"):
            (self.root / path).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        self.repository.mkdir()
        (self.tools / "packages").mkdir(parents=True)
        shutil.copy(TOOLS / "install-packages", self.tools)
        config = directory / "apt.conf"
        config.write_text(textwrap.dedent(f"""\
            Dir "{self.root}";
            Dir::State::status "{self.root}/var/lib/dpkg/status";
            Dir::Etc::trusted "/dev/null";
            DPkg::Options {{ "--root={self.root}"; "--force-script-chrootless"; }};
            APT::Architecture "all";
            APT::Sandbox::User "root";
            """), encoding="utf-8")
        (self.root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{self.repository} ./\n", encoding="utf-8")
        self.environment = dict(os.environ, APT_CONFIG=str(config), DPKG_ROOT=str(self.root),
                                PATH=f"{self.root}/usr/bin:{os.environ['PATH']}")

    def add_package(self, name, *fields, program=None, postinst=None):
        tree = self.repository / name
        (tree / "DEBIAN").mkdir(parents=True)
        lines = [f"Package: {name}", "Version: 1", "Architecture: all", "Maintainer: nobody <nobody@localhost>", *fields,
                 "Description: of a test"]
        (tree / "DEBIAN/control").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if postinst:
            script = tree / "DEBIAN/postinst"
            script.write_text("#!/bin/sh\n" + postinst, encoding="utf-8")
            script.chmod(0o755)
        if program:
            path = tree / "usr/bin" / program
            path.parent.mkdir(parents=True)
            path.write_text("#!/bin/sh\n", encoding="utf-8")
            path.chmod(0o755)
        self.must("dpkg-deb", "--build", "--root-owner-group", tree, self.repository / f"{name}.deb")
        shutil.rmtree(tree)
        index = subprocess.check_output(["apt-ftparchive", "packages", "."], cwd=self.repository) \
            if shutil.which("apt-ftparchive") else self._index()
        (self.repository / "Packages").write_bytes(index)

    def _index(self):
        out = b""
        for deb in sorted(self.repository.glob("*.deb")):
            control = subprocess.check_output(["dpkg-deb", "--field", deb])
            digest = subprocess.check_output(["sha256sum", deb]).split()[0]
            out += control + b"Filename: ./%s\nSize: %d\nSHA256: %s\n\n" % (deb.name.encode(), deb.stat().st_size, digest)
        return out

    def must(self, *command):
        subprocess.run([str(word) for word in command], check=True, env=self.environment, stdout=subprocess.DEVNULL)

    def installed(self):
        lines = subprocess.check_output(["dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f",
                                         "${Package} ${db:Status-Status}\n"], text=True).splitlines()
        return {line.split()[0] for line in lines if line.endswith(" installed")}

    def command(self, *lines):
        (self.tools / "packages/group.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [str(self.tools / "install-packages"), "group"]

    def run(self, *lines):
        return subprocess.run(self.command(*lines), env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False)

    @property
    def policy(self):
        return self.root / "usr/sbin/policy-rc.d"

    def files_left(self):
        return [path.name for path in (*self.policy.parent.iterdir(), *(self.root / "run").iterdir())]


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def test_installs_what_is_missing_and_leaves_no_policy(system):
    system.add_package("tool", postinst=f'"{system.policy}" x start; echo $? > "$DPKG_ROOT/answer"\n')

    done = system.run("tool")

    assert done.returncode == 0, done.stderr
    assert "tool" in system.installed()
    assert (system.root / "answer").read_text(encoding="utf-8") == "101\n"  # no service may start meanwhile
    assert system.files_left() == []


def test_takes_the_first_alternative_that_there_is(system):
    system.add_package("tool-19")

    assert system.run("tool-16 | tool-19").returncode == 0

    assert system.installed() == {"tool-19"}


def test_a_program_in_path_stands_for_its_package(system):
    system.add_package("containerd.io", "Conflicts: containerd", program="containerd")
    system.add_package("containerd", program="containerd")
    system.add_package("tool")
    assert system.run("containerd.io").returncode == 0

    done = system.run("containerd | bin:containerd", "tool")

    assert done.returncode == 0, done.stderr
    assert system.installed() == {"containerd.io", "tool"}


def test_a_file_of_another_package_stands_for_one_that_apt_does_not_have(system):
    system.add_package("emulator", program="daemon")

    done = system.run("emulator", "daemon | file:/usr/bin/daemon")

    assert done.returncode == 0, done.stderr
    assert system.installed() == {"emulator"}


def test_a_package_that_apt_has_comes_before_its_file_from_elsewhere(system):
    system.add_package("daemon", program="daemon")

    assert system.run("daemon | file:/usr/bin/daemon").returncode == 0

    assert system.installed() == {"daemon"}


def test_what_stays_missing_is_an_error(system):
    system.add_package("emulator")

    done = system.run("emulator", "daemon | file:/usr/bin/daemon")

    assert done.returncode != 0
    assert "daemon | file:/usr/bin/daemon" in done.stderr


def test_removes_nothing(system):
    system.add_package("theirs", "Conflicts: ours")
    system.add_package("ours")
    assert system.run("theirs").returncode == 0

    done = system.run("ours")

    assert done.returncode != 0
    assert "would remove theirs" in done.stderr
    assert system.installed() == {"theirs"}
    assert system.files_left() == []


def test_keeps_a_policy_that_is_somebody_elses(system):
    system.policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    system.add_package("tool")

    assert system.run("tool").returncode == 0

    assert system.policy.read_text(encoding="utf-8") == "#!/bin/sh\nexit 101\n"


def test_a_policy_left_by_a_kill_allows_services_and_goes(system):
    fifo = system.root / "gate"
    os.mkfifo(fifo)
    system.add_package("slow", postinst='read line < "$DPKG_ROOT/gate"\n')
    with subprocess.Popen(system.command("slow"), env=system.environment, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, start_new_session=True) as process:
        with open(fifo, "w", encoding="utf-8") as gate:  # returns when the package is being installed
            process.kill()
            process.wait()
            assert subprocess.run([system.policy, "x", "start"], check=False).returncode == 101  # dpkg still runs
            gate.write("go\n")
        deadline = time.monotonic() + 60
        while (code := subprocess.run([system.policy, "x", "start"], check=False).returncode) == 101:
            assert time.monotonic() < deadline, "apt did not end"
            time.sleep(0.05)
    assert code == 0
    assert not system.policy.exists()
    assert signal.SIGKILL == -process.returncode
