# SPDX-License-Identifier: Apache-2.0
"""Huge pages: what a container's limits let it use is there in the guest, for volumes (hugetlbfs) and without, and goes
with the container.
"""
import contextlib
import json
import pathlib
import subprocess

import pytest

import harness
from failures import told
from test_neighbours import annotations

HERE = pathlib.Path(__file__).resolve().parent
POOL = "awk '/^HugePages_Total/ {print $2}' /proc/meminfo"
MIB = 1 << 20


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "hugepage_probe"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", path, HERE / "hugepage_probe.c"], check=True)
    return path


@pytest.fixture
def volume(tmp_path):
    """As the kubelet mounts an emptyDir with medium HugePages. The host needs no huge page for it."""
    path = tmp_path / "pods/uid/volumes/kubernetes.io~empty-dir/huge"
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def spec_of(kata, program, command, mib, volume=None):
    spec = kata.default_spec("sh", "-c", command)
    spec["mounts"].append({"type": "bind", "source": str(program), "destination": "/probe", "options": ["rbind", "ro"]})
    if volume is not None:
        spec["mounts"].append({"type": "bind", "source": str(volume), "destination": "/huge", "options": ["rbind", "rw"]})
    # As containerd's CRI has it: an entry for each size that the host knows.
    spec["linux"]["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": mib * MIB}, {"pageSize": "1GB", "limit": 0}]
    return spec


def test_a_volume_and_a_program_have_them_up_to_the_limit(kata, program, volume):
    result = kata.run_config(spec_of(
        kata, program, f"{POOL}; stat -f -c %T /huge; /probe /huge 16; /probe '' 16; /probe '' 18", 16, volume))

    # 2,508,478,855 is hugetlbfs for a busybox that has no name for it.
    lines = result.out.decode().splitlines()
    assert lines[0] == "8" and lines[2:] == ["mapped", "mapped", "mmap: Cannot allocate memory"], result


def test_memory_of_the_others_is_what_it_was(kata, program):
    total = "awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo"
    without, having = (int(kata.run_config(spec_of(kata, program, total, mib)).out) for mib in (0, 64))

    assert 60 <= having - without <= 68


def test_they_come_and_go_with_the_containers_of_a_pod(kata, program):
    pod = kata.new_id("pod")
    first, second = f"{pod}-1", f"{pod}-2"
    spec = spec_of(kata, program, "/probe '' 8 && sleep 1000", 8)
    spec["annotations"] = dict(word.split("=", 1) for word in annotations("container", pod)[1::2])
    path = kata.directory / "huge.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        stack.enter_context(kata.container(identity=pod, flags=annotations("sandbox", pod)))
        stack.enter_context(kata.container(identity=first, flags=annotations("container", pod)))

        def pages():
            return int(kata.exec(first, "sh", "-c", POOL).out)

        assert pages() == 0
        result = kata.ctr("run", "--detach", "--null-io", "--runtime", kata.runtime, "--config", path, second)
        try:
            assert result.code == 0, result.err
            assert pages() == 4
        finally:
            kata.remove(second)
        harness.wait_for(lambda: pages() == 0, "the pages to be given back")


def test_more_than_the_host_has_is_refused_by_name(kata, program):
    result = kata.run_config(spec_of(kata, program, "true", 1 << 24))

    assert result.code != 0
    told("Huge pages do not fit", result.err)
