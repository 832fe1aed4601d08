# SPDX-License-Identifier: Apache-2.0
"""containerd's own Go client: pods, runtime options and calls that `ctr` has no words for. The cases are in test/go-client."""
import os
import pathlib
import subprocess

import pytest

import harness

SOURCES = harness.REPOSITORY / "test/go-client"
CACHE = pathlib.Path(os.environ.get("KATA_CACHE_DIR", "/var/cache/kata-containers-build"))
BUILD_SECONDS = 900  # the client and what it needs, once; a cache has them later
CASE_SECONDS = 600
CASES = ("pod-cri", "pod-crio", "pod-sandbox-first", "pod-without-sandbox", "options-path", "options-body",
         "options-foreign", "options-bad-body", "options-bad-message", "update", "update-impossible", "metrics", "pids",
         "checkpoint", "kill-all", "close-io-before-start", "resize-before-start", "second-delete",
         "delete-while-running", "waiters", "events")
STRESS_DURATION = os.environ.get("KATA_STRESS_DURATION", "30s")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The built client. Debian's packages of the sources are used as they lie: nothing is fetched."""
    path = tmp_path_factory.mktemp("go-client") / "go-client"
    environment = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", CGO_ENABLED="0",
                       GOCACHE=str(CACHE / "go"))
    done = subprocess.run(["go", "build", "-o", path, "."], cwd=SOURCES, env=environment, capture_output=True, text=True,
                          timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return path


def run_case(kata, program, *arguments, timeout=CASE_SECONDS):
    done = subprocess.run(
        [program, "-address", kata.address, "-token", kata.token, "-fifo-dir", kata.directory / "fifo",
         "-prefix", kata.prefix, "-runtime", harness.RUNTIME, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\ncontainerd's log ends:\n{kata.log_tail()}"


@pytest.mark.parametrize("case", CASES)
def test_case(kata, program, case):
    run_case(kata, program, case)


def test_stress(kata, program):
    """Longer by hand: KATA_STRESS_DURATION=10m."""
    run_case(kata, program, "-duration", STRESS_DURATION, "stress", timeout=None)
