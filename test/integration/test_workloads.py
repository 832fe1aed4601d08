# SPDX-License-Identifier: Apache-2.0
"""Programs that use files hard, in a Debian image: packages, archives, git, databases, an engine of its own. Each runs
under runc too, which is the measure, and here with both values of rootfs_writes.

KATA_WORKLOADS=full: 20,000 files and a minute of transactions, at all places. Half an hour on an emulated machine.
"""
import contextlib
import copy
import io
import os
import shutil
import subprocess
import tarfile

import pytest

import debian_image
import harness
from block_volume import block_volume

FULL = os.environ.get("KATA_WORKLOADS") == "full"
RUNC = "io.containerd.runc.v2"
PLACES = ("runc", "share", "disk")
MOST = PLACES if FULL else PLACES[:2]
FILES = 20_000 if FULL else 2_000
COMMITTED = 20_000 if FULL else 200
PER_DIRECTORY = 100
BENCH_SECONDS = 60 if FULL else 3
STEP_SECONDS = 1200 if FULL else 300
POSTGRES = "/usr/lib/postgresql/15/bin"
# What an engine wants of the container it is in.
CGROUP = ("--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=rw:nosuid:noexec:nodev:relatime")
ENGINE = """version = 2
root = "%s"
state = "/run/inner/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "/run/inner/socket"
"""
# With cgroup v2 a group that has children has no processes, so those that are there make room.
START_ENGINE = """if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p /sys/fs/cgroup/init
  for pid in $(cat /sys/fs/cgroup/cgroup.procs); do (echo $pid >/sys/fs/cgroup/init/cgroup.procs) 2>/dev/null || true; done
fi
containerd --config /inner.toml </dev/null >/run/inner.log 2>&1 &
for i in $(seq 300); do ctr -a /run/inner/socket version >/dev/null 2>&1 && exit 0; sleep 0.2; done
cat /run/inner.log; exit 1"""
INSIDE = "grep ' / ' /proc/mounts | cut -d' ' -f3; echo x >/new; cat /new; rm /bin/sort; ls /bin/sort 2>&1; " \
    "chown -h 5:5 /bin/ls; stat -c %u /bin/ls; mv /etc /moved; ls /moved/hosts"
INSIDE_SAYS = ["overlay", "x", "ls: /bin/sort: No such file or directory", "5", "/moved/hosts"]


@pytest.fixture(scope="module")
def engines(session_containerd):
    """{place: a containerd client that has the image}"""
    engine = copy.copy(session_containerd)
    engine.image = debian_image.NAME
    result = engine.ctr("image", "import", debian_image.archive(), timeout=STEP_SECONDS)
    assert result.code == 0, result.err
    runc = copy.copy(engine)
    runc.runtime = RUNC
    scratch = engine.directory / "scratch"
    disk = engine.configured("workloads", f'[hypervisor.qemu]\nrootfs_writes = "disk"\nrootfs_disk_path = "{scratch}"\n')
    yield {"runc": (runc, ()), "share": (engine, ()), "disk": (engine, disk)}
    shutil.rmtree(scratch, ignore_errors=True)
    assert engine.ctr("image", "rm", debian_image.NAME).code == 0


class Inside:
    """A container's shell."""

    def __init__(self, engine, identity):
        self.engine, self.identity = engine, identity

    def fails(self, script):
        """The result of a script, whatever it is."""
        return self.engine.exec(self.identity, "bash", "-c", script, timeout=STEP_SECONDS)

    def sh(self, script):
        """The lines that a script prints, which must work."""
        result = self.fails(f"set -e; cd /root; {script}")
        assert result.code == 0, (script, result.out[-2000:], result.err[-2000:])
        return result.out.decode().splitlines()


@contextlib.contextmanager
def inside(engines, place, flags=()):
    engine, own = engines[place]
    with engine.container("sleep", "100000", flags=(*own, *flags)) as identity:
        yield Inside(engine, identity)


@pytest.fixture
def volume(kata):
    path = kata.directory / "volume"
    path.mkdir()
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def bind(source, target, options="rbind:rw"):
    return ("--mount", f"type=bind,src={source},dst={target},options={options}")


@pytest.mark.parametrize("place", PLACES)
def test_packages(kata, engines, place):  # pylint: disable=unused-argument  # kata: what is left behind
    with inside(engines, place) as shell:
        # One and those that it needs, then the rest by apt, which looks at what dpkg has done.
        shell.sh("dpkg -i /debs/libonig5_* /debs/libjq1_* /debs/jq_*")
        shell.sh("DEBIAN_FRONTEND=noninteractive apt-get install -y -q /debs/*.deb")
        names = " ".join(debian_image.DEBS)
        assert shell.sh(f"dpkg -l {names} | grep -c ^ii") == [str(len(debian_image.DEBS))]
        # Of their files only those are missing that this image leaves out.
        script = f"dpkg --verify {names} | grep -v usr/share || true; dpkg --audit; hello; echo '[3]' | jq .[0]; echo 2+2 | bc"
        assert shell.sh(script) == ["Hello, world!", "3", "4"]
        shell.sh("dpkg --purge jq")
        assert shell.sh("ls /usr/bin/jq 2>&1 || true") == ["ls: cannot access '/usr/bin/jq': No such file or directory"]


@pytest.fixture
def archive(kata):
    """Makes a tar with so many small files."""
    path = kata.directory / "files.tar"

    def make(count):
        with tarfile.open(path, "w") as tar:
            for number in range(count):
                info = tarfile.TarInfo(f"files/{number // PER_DIRECTORY}/{number}")
                data = f"file {number}\n".encode()
                info.size, info.mode, info.mtime = len(data), 0o640 + number % 8, 1_600_000_000 + number
                info.uid = info.gid = 1000 + number % 3
                tar.addfile(info, io.BytesIO(data))
        return path
    yield make
    path.unlink()


@pytest.mark.parametrize("place", PLACES)
def test_an_archive_of_many_files(kata, engines, archive, place):  # pylint: disable=unused-argument
    with inside(engines, place, bind(archive(FILES), "/files.tar", "bind:ro")) as shell:
        shell.sh("tar -xf /files.tar --numeric-owner")
        # Contents, owners, modes and times are the archive's, and what is packed again the same.
        assert shell.sh("tar -df /files.tar --numeric-owner; find files -type f | wc -l") == [str(FILES)]
        names = shell.sh("tar -tf /files.tar | sort | sha256sum")
        script = "tar -cf new.tar files; tar -tf new.tar | grep -v '/$' | sort | sha256sum; rm -r files; ls"
        assert shell.sh(script) == [*names, "new.tar"]


@pytest.mark.parametrize("place", MOST)
def test_git(kata, engines, archive, place):  # pylint: disable=unused-argument
    with inside(engines, place, bind(archive(COMMITTED), "/files.tar", "bind:ro")) as shell:
        shell.sh("git config --global user.name a; git config --global user.email a@example.org; mkdir one; cd one; "
                 "tar -xf /files.tar --no-same-owner; git init -q .; git add .; git commit -q -m first")
        # By the protocol, and by hard links to the other's objects.
        shell.sh("git clone -q --no-local one two; git clone -q one three")
        assert shell.sh("for i in one two three; do git -C $i fsck --full --no-progress; git -C $i status --short; "
                        "git -C $i ls-files | wc -l; done; diff -r -x .git one two") == [str(COMMITTED)] * 3
        shell.sh("cd one; git gc -q; git fsck --full --no-progress; git mv files moved; git commit -q -m second; "
                 f"cd ../two; git pull -q; test $(git ls-files moved | wc -l) = {COMMITTED}")


@pytest.mark.parametrize("place", MOST)
def test_sqlite(kata, engines, place):  # pylint: disable=unused-argument
    """Two at a time on one database, by locks, and by a map of shared memory that the write-ahead log has."""
    with inside(engines, place) as shell:
        for mode in ("delete", "wal"):
            insert = "sqlite3 -cmd '.timeout 60000' db 'insert into t values (1)'"
            assert shell.sh(f"rm -f db*; sqlite3 db 'pragma journal_mode={mode}; create table t (a)'; "
                            f"(for i in $(seq 10); do {insert}; done) & for i in $(seq 10); do {insert}; done; wait; "
                            "sqlite3 db 'select count(*) from t; pragma integrity_check'") == [mode, "20", "ok"]


@pytest.mark.parametrize("place", MOST)
def test_postgresql(kata, engines, volume, place):  # pylint: disable=unused-argument
    """Its data on a volume, but on the disk where the container has one."""
    data = "/data" if place == "disk" else "/v"
    with inside(engines, place, bind(volume, "/v")) as shell:
        def sql(script):
            return shell.sh(f"export PATH=$PATH:{POSTGRES} PGHOST=/tmp PGDATA={data}/db; mkdir -p {data}; "
                            f"chown postgres {data}; cd {data}; "
                            f"setpriv --reuid postgres --regid postgres --clear-groups bash -ec \"{script}\"")
        start = f"pg_ctl -w -t {STEP_SECONDS} -l {data}/log -o '-k /tmp -c listen_addresses=' start >/dev/null"
        sql("initdb -A trust >/dev/null")
        sql(start)
        sql("pgbench -q -i -s 1 postgres 2>/dev/null")
        out = sql(f"pgbench -T {BENCH_SECONDS} -c 4 postgres 2>/dev/null")
        counts = [line for line in out if line.startswith("number of") and "transactions" in line]
        done, failed = (int(line.split(":")[1].split()[0]) for line in counts)
        assert done > 0 and failed == 0, out
        # After a crash all that was committed is there.
        sql("pg_ctl -m immediate stop >/dev/null")
        sql(start)
        assert sql("psql -t -A -c 'select count(*) from pgbench_history'") == [str(done)]
        sql("pg_ctl -m fast stop >/dev/null")


@pytest.fixture
def inner_image(kata):
    path = kata.directory / "inner.tar"
    subprocess.run([harness.REPOSITORY / "tools/make-busybox-image", path], check=True)
    yield path
    path.unlink()


def start_engine(shell, data):
    shell.sh(f"mkdir -p {data} /run/inner; cat >/inner.toml <<'END'\n{ENGINE % data}END\n{START_ENGINE}")


def run_inside():
    return "C='ctr -a /run/inner/socket'; $C image import /inner.tar >/dev/null && " \
        f"$C run --rm --memory-limit 33554432 localhost/busybox:latest inner sh -c \"{INSIDE}\""


@pytest.mark.parametrize("place, where", [
    ("runc", "tmpfs"), ("runc", "volume"), ("share", "tmpfs"), ("share", "volume"), ("share", "block"),
    *([("disk", "volume")] if FULL else [])])
def test_an_engine_inside(kata, engines, volume, inner_image, place, where):  # pylint: disable=unused-argument
    """A containerd with overlayfs in a privileged container runs a container of its own."""
    with contextlib.ExitStack() as stack:
        flags = ["--privileged", *CGROUP, *bind(inner_image, "/inner.tar", "bind:ro")]
        if where == "volume":
            flags += bind(volume, "/data")
        elif where == "tmpfs":
            flags += ("--mount", "type=tmpfs,src=tmpfs,dst=/data,options=rw")
        else:
            flags += bind(stack.enter_context(block_volume(kata.directory)), "/data")
        shell = stack.enter_context(inside(engines, place, flags))
        start_engine(shell, "/data")
        assert shell.sh(run_inside()) == INSIDE_SAYS


@pytest.mark.parametrize("place", MOST)
def test_an_engine_inside_with_its_data_on_an_overlay(kata, engines, inner_image, place):
    """An overlay cannot be the upper directory of another: not under runc, nor where it is the host's or the guest's."""
    del kata
    with inside(engines, place, ("--privileged", *CGROUP, *bind(inner_image, "/inner.tar", "bind:ro"))) as shell:
        start_engine(shell, "/var/lib/inner")
        result = shell.fails(run_inside())
        assert "invalid argument" in result.err, result
