# SPDX-License-Identifier: Apache-2.0
"""A host that lacks something: room in the run directory, the right to use /dev/kvm. One clear line, nothing left."""
import subprocess

import pytest

import harness
from changed_installation import edit, installation, one_line
from failures import told

MORE_PAGES = 12  # a bundle needs no more
# But for what is kept of pods that are over.
KEPT = ("-not", "-path", f"{harness.KATA_RUN}/ended/*")
NODES = {"null": "1 3", "zero": "1 5", "full": "1 7", "random": "1 8", "urandom": "1 9", "tty": "5 0"}


def after(commands):
    """Starts a containerd in a mount namespace of its own, made ready by shell commands."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", commands + '; exec "$@"', "sh")


@pytest.mark.parametrize("kib", [4, 24, 64])
def test_full_run_directory(kata, kib):
    """Too small at different steps. The error names the cause; with room again it works."""
    mount = f"mkdir -p {harness.KATA_RUN}; mount -t tmpfs -o size={kib}k none {harness.KATA_RUN}"
    with installation(kata, wrapper=after(mount)) as other:
        result = other.run("true")
        print(f"a run directory of {kib} KiB: {result.err}")
        assert result.code != 0
        one_line(result.err.lower(), "no space left on device")
        told("The host has no room", result.err.lower())
        inside = ("nsenter", "--mount", "--target", str(other.process.pid))
        left = subprocess.run([*inside, "find", harness.KATA_RUN, "-mindepth", "2", *KEPT], check=True,
                              stdout=subprocess.PIPE).stdout
        assert left == b""
        subprocess.run([*inside, "mount", "-o", "remount,size=64m", harness.KATA_RUN], check=True)
        assert other.run("echo", "room").out == b"room\n"


def test_full_state_directory_of_containerd(kata):
    """Page by page more room, until a container runs: whoever lacks it says so, and nothing stays."""
    state = kata.directory / "changed/containerd/state"
    mount = f"mkdir -p {state}; mount -t tmpfs -o size=1m none {state}"
    with installation(kata, wrapper=after(mount)) as other:
        inside = ("nsenter", "--mount", "--target", str(other.process.pid))

        def left():
            found = subprocess.run([*inside, "find", other.bundle("x").parent, "-mindepth", "1"], check=True,
                                   stdout=subprocess.PIPE).stdout
            return found.decode()

        errors = []
        for pages in range(MORE_PAGES):
            subprocess.run([*inside, "sh", "-c", f"cat /dev/zero >{state}/fill 2>/dev/null; "
                            f"truncate --size=-$(({pages} * 4096)) {state}/fill"], check=True)
            result = other.run("echo", "room")
            harness.wait_for(lambda: not left(), "the bundle to go")
            if result.code == 0:
                break
            one_line(result.err.lower(), "no space left on device")
            errors.append(result.err)
        print("a full state directory:", *errors, sep="\n")
        assert result.out == b"room\n"
        assert any("address" in error for error in errors), "the shim never lacked room"


def kvm(mode):
    nodes = "; ".join(f"mknod -m 666 $d/{name} c {numbers}" for name, numbers in NODES.items())
    return (f"d=$(mktemp -d); mount -t tmpfs none $d; {nodes}; mkdir $d/net $d/pts $d/shm; mknod -m 666 $d/net/tun c 10 200;"
            f"mknod -m {mode} $d/kvm c 10 232; mount --move $d /dev; rmdir $d")


def test_kvm_without_rights_is_emulated_with_a_warning(kata, tmp_path, monkeypatch):
    """And not slower than without the device: libvirt must take what it has once found about the emulator."""
    libvirt_log = tmp_path / "libvirt.log"
    monkeypatch.setenv("LIBVIRT_LOG_OUTPUTS", f"1:file:{libvirt_log}")
    monkeypatch.setenv("LIBVIRT_LOG_FILTERS", "1:filecache 1:qemu_capabilities")
    with installation(kata, wrapper=after(kvm("000"))) as other:
        for _ in range(2):
            libvirt_log.unlink(missing_ok=True)
            assert other.run("echo", "emulated").out == b"emulated\n"
        log = harness.read(libvirt_log)
        assert "virFileCacheValidate" in log
        assert "utdated" not in log and "no longer valid" not in log, log[-5000:]
        told("Everything is slow", harness.read(other.log))
        assert "/dev/kvm" in harness.read(other.log)


def test_kvm_that_is_demanded_and_not_allowed(kata):
    with installation(kata, edit(r'^accelerator = "auto"$', 'accelerator = "kvm"'), after(kvm("000"))) as other:
        result = other.run("true")

    print(result.err)
    assert result.code != 0
    one_line(result.err, "/dev/kvm", "denied", "accelerator")
    told("KVM is demanded and cannot be used", result.err)
