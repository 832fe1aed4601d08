# SPDX-License-Identifier: Apache-2.0
"""The failures that people meet most, each with the text that docs/troubleshooting.md quotes.

Those that have a test elsewhere are held against the document there, by `told` too.
"""
import pathlib
import re

import pytest

import failures
import harness
from changed_installation import installation
from failures import told

QEMU = "[hypervisor.qemu]\n"
BOOTS = "[factory]\nenable_template = false\n"
MEMORY = "io.katacontainers.config.hypervisor.default_memory"
KERNEL = "io.katacontainers.config.hypervisor.kernel"
ARM_PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100)  # the head of an ELF file for arm64


def error(kata, *command, flags=()):
    """That of a container that cannot be; in one line, as kubectl shows it."""
    result = kata.run(*(command or ("true",)), flags=flags)
    assert result.code != 0 and len(result.err.strip().splitlines()) == 1, result
    return result.err


@pytest.mark.parametrize("heading, text", [
    ("The emulator is not there", QEMU + 'path = "/there-is-no-such/qemu"'),
    ("The guest's kernel or initramfs is not there", QEMU + 'kernel = "/there-is-no-such/vmlinux"'),
    ("virtiofsd is not there", QEMU + 'virtio_fs_daemon = "/there-is-no-such/virtiofsd"'),
    ("The program is no virtiofsd", QEMU + 'virtio_fs_daemon = "/bin/true"'),
    ("QEMU refuses to start", BOOTS + QEMU + 'kernel = "/bin/true"'),
    ("A misspelt key", QEMU + "default_memroy = 1024"),
    ("A key of Kata's that does not apply", QEMU + 'image = "/kata-containers.img"'),
    ("A value that a key cannot have", QEMU + 'default_memory = "2G"')])
def test_a_configuration_that_does_not_work(kata, heading, text):
    said = error(kata, flags=kata.configured("failure", text + "\n"))

    told(heading, said)
    # On which pod.
    assert f'creating container "{kata.token}' in said


def test_a_kernel_that_the_machine_may_not_read(kata):
    kernel = kata.directory / "kernel"
    kernel.write_bytes(b"nobody reads it")
    kernel.chmod(0o600)
    said = error(kata, flags=kata.configured("failure", f'{QEMU}kernel = "{kernel}"\n'))

    kernel.unlink()
    told("The machine's user cannot read its kernel", said)


def test_a_configuration_that_is_not_there(kata):
    told("The configuration is not there", error(kata, flags=("--runtime-config-path", "/there-is-no-such.toml")))


@pytest.mark.parametrize("heading, text, annotation", [
    ("An annotation that is not enabled", 'enable_annotations = ["default_vcpus"]', f"{MEMORY}=1024"),
    ("An annotation with a value that its key cannot have", 'enable_annotations = ["default_memory"]', f"{MEMORY}=1Gi"),
    ("An annotation with a file that is not allowed", 'enable_annotations = ["kernel"]\nvalid_guest_paths = ["/boot/a"]',
     f"{KERNEL}=/boot/b"),
    ("An annotation that no pod can have", "", "io.katacontainers.config.hypervisor.kernel_params=init=/bin/sh")])
def test_an_annotation_that_is_refused(kata, heading, text, annotation):
    flags = (*kata.configured("failure", f"{QEMU}{text}\n"), "--annotation", annotation)

    told(heading, error(kata, flags=flags))


def test_an_annotation_chooses_among_what_the_operator_lists(kata):
    kernel = kata.prefix / "share/kata-containers/vmlinux"
    text = f'{QEMU}enable_annotations = ["kernel"]\nvalid_guest_paths = ["{kernel.parent}/*"]\nkernel = "/there-is-no-such"\n'
    result = kata.run("echo", "booted", flags=(*kata.configured("chosen", text), "--annotation", f"{KERNEL}={kernel}"))

    assert result.out == b"booted\n", result


def test_a_shim_that_is_not_installed(kata, monkeypatch):
    monkeypatch.setattr(kata, "runtime", "io.containerd.there-is-none.v2")

    told("The shim is not found", error(kata))


def test_a_libvirt_without_its_driver(kata):
    hide = "for d in /usr/lib/*/libvirt/connection-driver; do mount -t tmpfs none $d; done"
    wrapper = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", hide + '; exec "$@"', "sh")
    with installation(kata, wrapper=wrapper) as other:
        told("libvirt has no driver for QEMU", error(other))


@pytest.fixture(name="programs")
def fixture_programs(tmp_path):
    tmp_path.chmod(0o755)
    for name, content, mode in (("arm", ARM_PROGRAM, 0o755), ("text", b"no program", 0o644)):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)
    return "--mount", f"type=bind,src={tmp_path},dst=/v,options=rbind:ro"


def test_a_program_that_cannot_run(kata, programs):
    with kata.container(flags=programs) as identity:
        for heading, program in (("The program is for another processor", "/v/arm"),
                                 ("The program may not be executed", "/v/text"),
                                 ("The program is a directory", "/etc")):
            result = kata.exec(identity, program)
            assert result.code != 0
            told(heading, result.err)
            assert f'"{identity}"' in result.err, result
        harness.kill(harness.processes("virtiofsd", identity))
        harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the container to end")
        told("Its virtiofsd has ended", harness.read(kata.log))
        told("Its machine has ended", kata.exec(identity, "true").err)


def test_a_bundle_that_cannot_be(kata):
    socket = ("--mount", f"type=bind,src={kata.address},dst=/s,options=rbind:rw")
    told("A socket of the host", error(kata, flags=socket))
    told("The host's network is asked for", error(kata, flags=("--net-host",)))
    spec = kata.default_spec("true")
    spec["linux"]["intelRdt"] = {"closID": "a"}
    told("A field that no guest can have", kata.run_config(spec).err)
    spec = kata.default_spec("true")
    spec["root"]["path"] = "/there-is-no-such"
    told("The root file system is not there", kata.run_config(spec).err)


def test_each_quote_is_provoked_by_a_test():
    tests = "\n".join(path.read_text(encoding="utf-8") for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    headings = [line.removeprefix("### ") for line in failures.DOCUMENT.read_text(encoding="utf-8").splitlines()
                if line.startswith("### ")]

    assert len(headings) >= 30 and set(headings) == set(failures.quotes())
    assert [heading for heading in headings if not re.search(rf'"{re.escape(heading)}",', tests)] == []
