# SPDX-License-Identifier: Apache-2.0
"""A copy of the installation with something wrong in it, and what its errors must look like."""
import contextlib
import re
import shutil

import harness

CONFIGURATION = "share/defaults/kata-containers/configuration.toml"


def one_line(text, *words):
    """ctr's error must be one line with all the words in it."""
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    missing = [word for word in words if word not in lines[0]]
    assert not missing, f"{missing} not in {lines[0]!r}"


@contextlib.contextmanager
def installation(kata, change=lambda prefix: None, wrapper=(), templates=False):
    """A second containerd, started through `wrapper`, with a copy of the installation changed by `change(prefix)`.

    Its machines boot, or have templates of their own.
    """
    directory = kata.directory / "changed"
    prefix = directory / "prefix"
    shutil.copytree(kata.prefix / "bin", prefix / "bin", symlinks=True)
    shutil.copytree(kata.prefix / "share", prefix / "share")
    shutil.copytree(kata.prefix / "libexec", prefix / "libexec")
    edit(r"^enable_template = .*$", f"enable_template = {str(templates).lower()}")(prefix)
    edit(r"^template_path = .*$", f'template_path = "{directory}/templates"')(prefix)
    change(prefix)
    other = harness.Containerd(directory / "containerd", prefix, f"{kata.token}o")
    other.wrapper = wrapper
    other.start()
    try:
        other.import_busybox()
        yield other
    finally:
        other.stop()
        shutil.rmtree(directory)


def edit(pattern, replacement):
    """A change of the configuration file; the pattern must be in it."""
    def change(prefix):
        path = prefix / CONFIGURATION
        text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
        assert count == 1, f"{pattern} is not in {path}"
        path.write_text(text, encoding="utf-8")
    return change
