# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests: `kata`, a running private containerd, with a leak check after each test."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import harness  # noqa: E402  (found through the line above)


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def prefix():
    """Where the programs under test are installed: KATA_PREFIX, which test/run sets."""
    path = pathlib.Path(os.environ.get("KATA_PREFIX", harness.REPOSITORY / "build/stage"))
    if harness.RUNTIME.startswith("io.containerd.kata"):
        assert (path / "bin/containerd-shim-kata-v2").exists(), f"no shim below {path}; run test/run integration"
    return path


@pytest.fixture(scope="session")
def session_containerd(prefix):
    token = f"kt{os.getpid()}z"
    containerd = harness.Containerd(f"/run/{token}", prefix, token)
    containerd.start()
    try:
        containerd.import_busybox()
        # Not by the first test's pod, beside which it would be made.
        builder = prefix / "libexec/kata-containers/kata-template"
        if builder.exists() and "KATA_TEST_VSOCK" not in os.environ:  # machines with a vsock boot
            subprocess.run([builder, "build"], check=True, stdout=subprocess.DEVNULL)
        yield containerd
    finally:
        containerd.stop()
        shutil.rmtree(containerd.directory, ignore_errors=True)


@pytest.fixture
def kata(session_containerd):
    """The session's containerd. After the test nothing that the test made may be there any more."""
    sockets = session_containerd.shim_sockets()
    yield session_containerd
    forgotten = session_containerd.containers()
    for identity in forgotten:
        session_containerd.ctr("task", "rm", "--force", identity)
        session_containerd.ctr("container", "rm", identity)
    left = session_containerd.wait_clean(sockets)
    if left:
        tail = session_containerd.log_tail()
        session_containerd.force_clean()
        pytest.fail("left behind:\n  " + "\n  ".join(left) + f"\ncontainerd's log ends:\n{tail}", pytrace=False)
    assert not forgotten, f"the test did not remove its containers {forgotten}"


@pytest.fixture
def ctl(prefix):
    """Runs kata-ctl to its end with that exit code; the value is what it has said, errors after the rest."""
    def run(*words, code=0):
        done = subprocess.run([prefix / "bin/kata-ctl", *words], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done
        return done.stdout + done.stderr
    return run
