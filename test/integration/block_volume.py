# SPDX-License-Identifier: Apache-2.0
"""A volume that is a disk of the machine with a file system: a path that a storage plugin has assigned to a device."""
import base64
import contextlib
import json
import pathlib
import shutil
import subprocess

from test_disks import loop_device

DIRECT = pathlib.Path("/run/kata-containers/shared/direct-volumes")


@contextlib.contextmanager
def block_volume(directory, size="64m", kind="ext4"):
    """The path to bind. On the host it is an empty directory."""
    path = directory / "block-volume"
    said = DIRECT / base64.urlsafe_b64encode(str(path).encode()).decode()
    with loop_device(directory, size) as device:
        subprocess.run([f"mkfs.{kind}", "-q", device], check=True)
        path.mkdir()
        said.mkdir(parents=True)
        (said / "mountInfo.json").write_text(json.dumps({"volume-type": "block", "device": device, "fstype": kind}), encoding="utf-8")
        try:
            yield path
        finally:
            shutil.rmtree(said)
            path.rmdir()
