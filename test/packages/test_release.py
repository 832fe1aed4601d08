# SPDX-License-Identifier: Apache-2.0
"""A release: what it has, and that two of them, made in other places, are the same bytes."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

import harness

STAGE = pathlib.Path(os.environ.get("KATA_PREFIX", harness.REPOSITORY / "build/stage"))
BUILD_SECONDS = 4 * 3600  # without a cache, beside others
PROGRAMS = ("bin/containerd-shim-kata-v2", "bin/kata-ctl", "libexec/kata-containers/kata-template",
            "libexec/kata-containers/agent", "share/kata-containers/kata-initrd.img")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}"
    return done.stdout


def clone(path):
    run("git", "-c", "safe.directory=*", "clone", "--quiet", harness.REPOSITORY, path)
    return path


def digests(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


@pytest.fixture(scope="module", name="release")
def made_release(tmp_path_factory):
    directory = tmp_path_factory.mktemp("release")
    run(clone(directory / "clone") / "tools/package/release", "--stage", STAGE, directory / "out")
    return directory / "out"


def test_it_has_all_and_the_checksums_are_right(release):
    kinds = sorted(re.sub(r"_.*\.deb$", ".deb", path.name) for path in release.iterdir())
    assert kinds == ["CHANGELOG.md", "SHA256SUMS", "kata-containers-guest.deb", "kata-containers.deb",
                     "kata-containers.spdx.json", "kata-ctl.deb"]
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release)
    listed = {line.split()[1] for line in harness.read(release / "SHA256SUMS").splitlines()}
    assert listed == {path.name for path in release.iterdir()} - {"SHA256SUMS"}
    subject = run("git", "-c", "safe.directory=*", "-C", harness.REPOSITORY, "log", "-1", "--no-merges", "--format=%s")
    assert f"* {subject.strip()} (" in harness.read(release / "CHANGELOG.md")


def test_the_list_of_parts_is_whole(release):
    document = json.loads(harness.read(release / "kata-containers.spdx.json"))
    named = [element["SPDXID"] for element in (document, *document["packages"], *document["files"])]
    known = set(named)
    assert len(known) == len(named)
    for relation in document["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= known
    own = {package["name"]: package for package in document["packages"] if "packageFileName" in package}
    assert sorted(own) == ["kata-containers", "kata-containers-guest", "kata-ctl"]
    for package in own.values():
        assert package["checksums"][0]["checksumValue"] == digests(release)[package["packageFileName"]]
    of_debian = {package["name"]: package["versionInfo"] for package in document["packages"]
                 if package["name"] not in own}
    assert {"libprotobuf-dev", "libabsl-dev", "libseccomp-dev"} <= set(of_debian)
    assert [name for name in of_debian if name.startswith("linux-source-")]
    for name, version in of_debian.items():
        assert run("dpkg-query", "-W", "-f", "${Version}", name) == version


def test_a_second_one_elsewhere_is_the_same(release, tmp_path):
    """From the same programs: file times, the order of directories, names of directories."""
    other = clone(tmp_path / "some" / "other" / "place")
    run("find", other, "-exec", "touch", "--no-dereference", "--date=2020-02-02", "{}", "+")
    run(other / "tools/package/release", "--stage", STAGE, tmp_path / "out",
        env=dict(os.environ, LC_ALL="C", TZ="Asia/Tokyo"))
    assert digests(tmp_path / "out") == digests(release)


@pytest.fixture(name="open_directory")
def directory_that_anybody_may_enter():
    """As tools/build wants its prefix, which pytest's own directories are not."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="kata-release.", dir="/var/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_programs_built_elsewhere_without_a_cache_are_the_same(open_directory):
    """The guest's kernel is not built again: it is kept by what it is made of."""
    other = clone(open_directory / "elsewhere" / "sources")
    prefix = open_directory / "prefix"
    run("tools/build", "--prefix", prefix, cwd=other, env=dict(os.environ, CCACHE_DISABLE="1"), timeout=BUILD_SECONDS)
    for name in PROGRAMS:
        assert (STAGE / name).read_bytes() == (prefix / name).read_bytes(), name
