# SPDX-License-Identifier: Apache-2.0
"""The list of mounts that Create is given for a root file system, as containerd's snapshotters write it. The calls go
straight to the shim, so that a list need not come from an image.
"""
import contextlib
import shutil
import subprocess

import pytest

import ttrpc_client
from test_bootstrap import bundle_of

LAYERS = 120  # as containerd's own limit for its overlay is 128; the paths of some forty fill a page


def mount(kind, source, *options, target=""):
    return {1: kind, 2: str(source), 3: target, 4: [str(option) for option in options]}


class Lists:
    def __init__(self, kata):
        self.kata = kata
        self.directory = kata.directory / "rootfs-mounts"
        self.base = kata.unpacked_rootfs()
        self.overlay_count = 0

    def overlay(self, lower):
        """A mount of directories, the topmost first, with an upper one as containerd makes it."""
        upper = self.directory / "upper"
        for path in (upper / "fs", upper / "work"):
            path.mkdir(parents=True, exist_ok=True)
        return mount("overlay", "overlay", "index=off", f"workdir={upper}/work", f"upperdir={upper}/fs",
                     "lowerdir=" + ":".join(str(path) for path in lower))

    def run(self, mounts, *command):
        """(exit status, output) of a container on them; CallError when Create is refused."""
        with bundle_of(self.kata, *command) as bundle:
            identity = {1: bundle.identity}
            config = (bundle.path / "config.json")
            config.write_text(config.read_text(encoding="utf-8").replace(str(self.base), "rootfs"), encoding="utf-8")
            (bundle.path / "rootfs").mkdir()
            address = bundle.shim("start", bundle.bootstrap_params(self.kata.directory / "sockets", {})).decode().strip()
            with ttrpc_client.Shim(address.removeprefix("unix://")) as shim:
                def call(method, fields):
                    return shim.call(method, fields, service="containerd.task.v3.Task")
                try:
                    call("Create", {**identity, 2: str(bundle.path), 3: mounts, 6: str(bundle.path / "stdout")})
                    call("Start", identity)
                    status = call("Wait", identity).get(1, 0)
                    out = bundle.read_stdout().decode()
                    assert not list((bundle.path / "rootfs").iterdir()), "it is mounted on the host"
                    call("Delete", identity)
                    return status, out
                finally:
                    with contextlib.suppress(ttrpc_client.CallError):
                        call("Shutdown", {**identity, 2: 1})
                    shim.wait_closed()
                    bundle.shim("delete")


@pytest.fixture
def lists(kata):
    made = Lists(kata)
    yield made
    shutil.rmtree(made.directory, ignore_errors=True)


def test_as_many_layers_as_images_have(lists):
    snapshots = lists.directory / "io.containerd.snapshotter.v1.overlayfs/snapshots"
    layers = []
    for number in range(1, LAYERS):
        layer = snapshots / str(number) / "fs"
        (layer / "layers").mkdir(parents=True)
        (layer / "layers" / str(number)).touch()
        (layer / "top").write_text(f"{number}\n", encoding="utf-8")
        layers.insert(0, layer)
    status, out = lists.run([lists.overlay([*layers, lists.base])], "sh", "-c", "ls /layers | wc -l; cat /top; echo x >/new")

    assert (status, out.split()) == (0, [str(LAYERS - 1), str(LAYERS - 1)])
    assert (lists.directory / "upper/fs/new").exists()


def test_targets_below_the_root_stay_in_it(lists):
    image, etc = lists.directory / "image", lists.directory / "etc"
    (image / "real").mkdir(parents=True)
    (image / "link").symlink_to("/real")
    (image / "out").symlink_to(f"../../../../../..{etc}")
    etc.mkdir()
    (etc / "file").write_text("from etc\n", encoding="utf-8")
    first = lists.overlay([image, lists.base])
    bind = mount("bind", etc, "rbind", "ro", target="link")
    status, out = lists.run([first, bind], "sh", "-c", "cat /real/file; touch /real/new 2>/dev/null; echo $?")
    assert (status, out) == (0, "from etc\n1\n")

    with pytest.raises(ttrpc_client.CallError, match="/out"):
        lists.run([first, mount("bind", etc, "rbind", target="out")], "true")


def test_image_file(lists):
    image = lists.directory / "image.ext4"
    # Read-only, so that what is mounted on must be there.
    tree = lists.directory / "tree"
    shutil.copytree(lists.base, tree, symlinks=True)
    (tree / "run").mkdir(exist_ok=True)
    subprocess.run(["truncate", "-s", "16m", image], check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image], check=True)
    probe = subprocess.run(["losetup", "--find"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("no loop devices")
    assert lists.run([mount("ext4", image, "ro", "loop")], "echo", "from an image") == (0, "from an image\n")
    assert subprocess.run(["losetup", "-j", image], capture_output=True, check=True).stdout == b""


@pytest.mark.parametrize("kind, option, named", [
    ("fuse3.fuse-overlayfs", "ro", "fuse3.fuse-overlayfs"), ("mkfs/ext4", "ro", "mkfs/ext4"),
    ("ext4", "X-containerd.mkdir.path=/x", "X-containerd.mkdir.path=/x")])
def test_what_is_not_done_is_refused_by_name(lists, kind, option, named):
    with pytest.raises(ttrpc_client.CallError, match=named):
        lists.run([mount(kind, "/", option)], "true")
