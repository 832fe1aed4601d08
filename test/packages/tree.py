# SPDX-License-Identifier: Apache-2.0
"""A tree of a Debian release with nothing but its base, and a namespace of mounts and processes in which it is root.

A base is made once by mmdebstrap from the host's mirror; what apt downloads for a tree is kept beside it.
"""
import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile

import harness

CACHE = pathlib.Path(os.environ.get("KATA_CACHE_DIR", "/var/cache/kata-containers-build"))
MAKE_SECONDS = 900
COMMAND_SECONDS = 900  # apt downloads QEMU
END_SECONDS = 60
SOCKET = "/run/containerd/containerd.sock"
IMAGE = harness.IMAGE
# As its root and not by chroot, where a process may neither make a user namespace nor change how mounts travel. The
# tree's /run is its own. The first process of the namespace collects the others' ends, and all end with it.
ENTER = """
tree=$1 archives=$2 packages=$3
mount --bind "$tree" "$tree"
mount -t proc none "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs none "$tree/run"
mount -t tmpfs none "$tree/tmp"
mkdir -p "$tree"/run/lock "$tree"/host "$tree"/packages
mount --bind "$archives" "$tree/var/cache/apt/archives"
mount --bind -o ro "$packages" "$tree/packages"
cd "$tree"
pivot_root . host
umount --lazy /host
trap 'exit 0' TERM
echo ready
while true; do sleep 1000 & wait -n || true; done
"""


def base(suite):
    """The tar of a release's minimal system."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"debian-base-{suite}.tar"
    with open(CACHE / "debian-base.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            mirror = subprocess.check_output([harness.REPOSITORY / "tools/lib/debian-mirror"], text=True).strip()
            new = path.with_suffix(".new.tar")
            # It mounts /proc and /sys in the tree: not where they would stay.
            done = subprocess.run(["unshare", "--mount", "--propagation", "private", "mmdebstrap", "--quiet",
                                   "--mode=root", "--variant=minbase", "--format=tar", suite, new, mirror],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=MAKE_SECONDS,
                                  check=False)
            assert done.returncode == 0, f"mmdebstrap: {done.stdout[-2000:]}"
            new.rename(path)
    return path


class Tree:
    """`packages`: a directory of the host, which is /packages in it."""

    def __init__(self, suite, packages):
        self.suite = suite
        self.packages = packages
        self.root = None
        self.first = None    # unshare, whose only child is the first process of the tree
        self.containerd = None

    def __enter__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=f"kata-tree-{self.suite}.", dir=CACHE))
        self.root.chmod(0o755)
        try:
            subprocess.run(["tar", "-xf", base(self.suite), "-C", self.root], check=True)
            # For names on the network: as they are for the host.
            for name in ("resolv.conf", "hosts"):
                shutil.copy(f"/etc/{name}", self.root / "etc")
            archives = CACHE / f"debian-base-{self.suite}-archives"
            (archives / "partial").mkdir(parents=True, exist_ok=True)
            # No services: there is no init. Downloads are kept, for the next tree.
            policy = self.root / "usr/sbin/policy-rc.d"
            policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
            policy.chmod(0o755)
            (self.root / "etc/apt/apt.conf.d/99tests").write_text(
                'APT::Keep-Downloaded-Packages "true";\nAPT::Sandbox::User "root";\nAPT::Install-Recommends "false";\n',
                encoding="utf-8")
            self.first = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                 "bash", "-euc", ENTER, "tree", self.root, archives, self.packages],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            assert self.first.stdout.readline() == "ready\n"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.first is not None:
            self.first.kill()
            self.first.wait(timeout=END_SECONDS)
            self.first.stdout.close()
        if self.root is not None:
            # Its mounts went with the namespace.
            harness.wait_for(lambda: str(self.root) not in harness.read("/proc/self/mountinfo"), "its mounts to go")
            subprocess.run(["rm", "-rf", "--one-file-system", self.root], check=True)

    def command(self, *words):
        first, = harness.read(f"/proc/{self.first.pid}/task/{self.first.pid}/children").split()
        return ["nsenter", "--target", first, "--mount", "--pid", "--root", "env", "-C", "/", "-i", "HOME=/root",
                "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
                *[str(word) for word in words]]

    def start(self, *words, **options):
        return subprocess.Popen(self.command(*words), **options)

    def try_run(self, *words, timeout=COMMAND_SECONDS):
        done = subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)
        return harness.Result(done.returncode, done.stdout, done.stderr)

    def run(self, *words, timeout=COMMAND_SECONDS):
        done = self.try_run(*words, timeout=timeout)
        assert done.code == 0, f"{' '.join(map(str, words))}: {done.out[-2000:]}\n{done.err[-2000:]}\n{self.log()}"
        return done.out

    def install(self, *packages):
        """By apt: names, or paths of files in /packages."""
        return self.run("apt-get", "install", "-y", *packages)

    def installed(self):
        """{package: version} of all that is there, also of what has only configuration left."""
        lines = self.run("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n").splitlines()
        return {fields[0]: fields[1] for fields in map(str.split, lines)}

    # --- containers ---

    def start_containerd(self):
        with open(self.root / "containerd.log", "ab") as log:
            self.containerd = self.start("containerd", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         start_new_session=True)
        harness.wait_for(lambda: self.containerd.poll() is not None or self.try_run("ctr", "version").code == 0,
                         "containerd's answer")
        assert self.containerd.poll() is None, self.log()
        archive = self.root / "busybox.tar"
        subprocess.run([harness.REPOSITORY / "tools/make-busybox-image", archive, "--name", IMAGE], check=True)
        self.run("ctr", "image", "import", "/busybox.tar")
        archive.unlink()

    def log(self):
        return "\n".join(harness.read(self.root / "containerd.log").splitlines()[-15:]) if self.containerd else ""

    def container(self, identity, *command, flags=("--rm",)):
        return self.run("ctr", "run", *flags, "--runtime", harness.RUNTIME, IMAGE, identity, *command)

    @contextlib.contextmanager
    def pod(self, identity):
        """A container that sleeps while the block runs."""
        self.container(identity, "sleep", "100000", flags=("--detach", "--null-io"))
        try:
            yield
        finally:
            # Of a container whose shim has died containerd has no task any more.
            done = self.try_run("ctr", "task", "rm", "--force", identity)
            self.run("ctr", "container", "rm", identity)
        assert done.code == 0 or "not found" in done.err, done.err

    def processes(self, program, word=""):
        """Pids, as the tree sees them, of processes of a program that begins so, with the word in their command."""
        each = "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline); done"
        lines = map(str.split, self.run("sh", "-c", each).splitlines())
        return [int(fields[0]) for fields in lines if len(fields) > 1 and word in " ".join(fields) and
                os.path.basename(fields[1]).startswith(program)]
