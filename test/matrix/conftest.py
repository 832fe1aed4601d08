# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the Docker tests: `docker`, a running private dockerd, with a leak check after each test."""
import os
import pathlib
import shutil
import sys

import pytest

sys.path[:0] = [os.path.dirname(__file__), str(pathlib.Path(__file__).resolve().parents[1] / "integration")]
import docker_harness  # noqa: E402  (found through the line above)
import harness  # noqa: E402


def running(kind, token):
    """A Docker of `kind` while a session's fixture is in use."""
    prefix = pathlib.Path(os.environ.get("KATA_PREFIX", harness.REPOSITORY / "build/stage"))
    docker = kind(f"/run/{token}", prefix, token)
    try:
        docker.start()
        docker.import_busybox()
        yield docker
    finally:
        docker.stop()
        shutil.rmtree(docker.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def session_docker():
    yield from running(docker_harness.Docker, f"kt{os.getpid()}z")


@pytest.fixture(scope="session")
def session_networked_docker():
    yield from running(docker_harness.NetworkedDocker, f"kt{os.getpid()}n")


def checked(session_docker):
    """The session's Docker. After the test nothing that the test made may be there any more."""
    session_docker.begin_test()
    sockets = session_docker.shim_sockets()
    yield session_docker
    forgotten = session_docker.containers()
    for identity in forgotten:
        session_docker.docker("rm", "--force", identity)
    left = session_docker.wait_clean(sockets)
    if left:
        tail = session_docker.log_tail()
        session_docker.force_clean()
        pytest.fail("left behind:\n  " + "\n  ".join(left) + f"\ncontainerd's log ends:\n{tail}", pytrace=False)
    assert not forgotten, f"the test did not remove its containers {forgotten}"


@pytest.fixture
def docker(session_docker):
    yield from checked(session_docker)


@pytest.fixture
def networked(session_networked_docker):
    yield from checked(session_networked_docker)
