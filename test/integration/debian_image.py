# SPDX-License-Identifier: Apache-2.0
"""An image of the host's Debian release with programs that use files hard: made once, by mmdebstrap from the host's
mirror, and kept outside of the tree under a name made of what it holds.
"""
import fcntl
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile

import harness

NAME = "localhost/debian:workloads"
PACKAGES = ("git", "sqlite3", "postgresql", "containerd", "runc")
# Not installed: files in /debs. Each one's dependencies are in the image or in the list.
DEBS = ("bc", "file", "hello", "jq", "less", "libjq1", "libmagic-mgc", "libmagic1", "libonig5", "tree")
# What is large and not used here: a compiler for queries, manuals, other shims.
LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/i18n/*", "/usr/lib/*/libLLVM*",
            "/usr/lib/*/libz3*", "/usr/lib/postgresql/*/bitcode/*", "/usr/lib/postgresql/*/llvmjit*",
            "/usr/bin/containerd-shim", "/usr/bin/containerd-shim-runc-v1", "/usr/bin/containerd-stress")
CACHE = pathlib.Path(os.environ.get("KATA_CACHE_DIR", "/var/cache/kata-containers-build"))
BUILD_SECONDS = 900
BLOCK = 1 << 20
ENVIRONMENT = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"]


def release():
    return re.search(r"^VERSION_CODENAME=(\S+)$", harness.read("/etc/os-release"), re.MULTILINE).group(1)


def make_tree(suite, path):
    """The file system as a tar."""
    mirror = subprocess.check_output([harness.REPOSITORY / "tools/lib/debian-mirror"], text=True)
    fetch = f'mkdir "$1/debs" && chroot "$1" sh -c "cd /debs && apt-get -q download {" ".join(DEBS)}"'
    # It mounts /proc and /sys in the tree: not where they would stay.
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "mmdebstrap", "--quiet", "--mode=root",
                           "--variant=minbase", "--format=tar", f"--include={','.join(PACKAGES)}",
                           *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT), f"--customize-hook={fetch}",
                           "--essential-hook=mkdir -p \"$1/etc/postgresql-common\" && "
                           "echo create_main_cluster=false >\"$1/etc/postgresql-common/createcluster.conf\"",
                           suite, path, mirror.strip()],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, f"mmdebstrap: {done.stdout[-2000:]}"


def file_digest(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def pack(layer, out):
    """An OCI layout in a tar, with the one layer."""
    root = file_digest(layer)
    documents = {}

    def document(value, kind):
        data = json.dumps(value, sort_keys=True).encode()
        documents[hashlib.sha256(data).hexdigest()] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}.v1+json", "size": len(data),
                "digest": f"sha256:{list(documents)[-1]}"}

    config = document({"architecture": "amd64", "os": "linux", "config": {"Env": ENVIRONMENT, "Cmd": ["bash"]},
                       "rootfs": {"type": "layers", "diff_ids": [f"sha256:{root}"]}}, "config")
    manifest = document({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
                         "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{root}",
                                     "size": os.stat(layer).st_size}]}, "manifest")
    manifest["annotations"] = {"io.containerd.image.name": NAME}
    with tarfile.open(out, "w") as tar:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add("index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())
        for digest, data in documents.items():
            add(f"blobs/sha256/{digest}", data)
        tar.add(layer, f"blobs/sha256/{root}")


def archive():
    """The path of the image as `ctr image import` takes it."""
    key = hashlib.sha256(pathlib.Path(__file__).read_bytes() + release().encode()).hexdigest()[:16]
    path = CACHE / f"debian-image-{key}.tar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "debian-image.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".debian-image-") as work:
                make_tree(release(), f"{work}/tree.tar")
                pack(f"{work}/tree.tar", f"{work}/image.tar")
                os.rename(f"{work}/image.tar", path)
            for old in CACHE.glob("debian-image-*.tar"):
                if old != path:
                    old.unlink()
    return path
