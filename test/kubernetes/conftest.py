# SPDX-License-Identifier: Apache-2.0
"""Fixtures: `cluster`, one for the session, and `space`, a namespace in it of which nothing is left after the test."""
import os
import pathlib
import re
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
import cluster as cluster_module  # noqa: E402  (found through the line above)
from space import Space  # noqa: E402

NAME_SIZE = 40


def pytest_collection_modifyitems(items):
    for item in items:
        if "cluster" in item.fixturenames and "KATA_KUBERNETES_WORK" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="needs test/kubernetes/run"))


@pytest.fixture(scope="session")
def cluster():
    with cluster_module.running() as running:
        yield running


@pytest.fixture
def space(cluster, request):
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    one = Space(cluster, words[:NAME_SIZE].strip("-"))
    one.make()
    try:
        yield one
    finally:
        story = one.story()
        one.remove()
        left = cluster.wait_clean()
    assert not left, "left behind:\n  " + "\n  ".join(left) + "\n" + story
