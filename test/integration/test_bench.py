# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself: it measures all of whom it says so, and a baseline tells what has moved. One round: figures are for
test/bench/run by hand.
"""
import json
import subprocess
import sys

import pytest

import harness

BENCH = harness.REPOSITORY / "test/bench"
BENCH_SECONDS = 900
sys.path.insert(0, str(BENCH))
from samples import Samples  # noqa: E402  (found through the line above)


def bench(prefix, out, *words):
    done = subprocess.run([BENCH / "run", "--prefix", prefix, "--out", out, "--pairs", "1", *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=BENCH_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_round_of_starts_calls_and_memory(prefix, tmp_path):
    text = bench(prefix, tmp_path, "start", "pod", "stop", "exec", "memory")

    samples = json.loads((tmp_path / "samples.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row["values"] for row in samples["rows"]}
    assert set(rows["ctr run --rm of true"]) == {"kata", "cold", "runc", "raw"}
    assert set(rows["container in a running pod, create and start"]) == {"kata", "runc"}
    assert rows["  until: agent ready"]["kata"][0] > 0
    assert rows["ctr run --rm of true: processor"]["cold"][0] > rows["ctr run --rm of true: processor"]["kata"][0]
    # A machine that boots takes more of the processor than a process, and both are counted.
    cpu = rows["ctr run --rm of true: processor"]
    assert cpu["kata"][0] > cpu["runc"][0] > 0
    assert rows["QEMU of an idle pod, private"]["kata"][0] > rows["shim of an idle pod, private"]["kata"][0] > 0
    for name in rows:
        assert f"{name}, " in text


def test_a_small_round_of_files_and_streams(prefix, tmp_path):
    bench(prefix, tmp_path, "files", "streams", "--quick")

    samples = json.loads((tmp_path / "samples.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row["values"] for row in samples["rows"]}
    for place in ("root", "volume", "tmpfs"):
        for way in ("sequential write", "sequential read", "random read of 4 KiB", "random write of 4 KiB", "create", "open and read",
                    "unlink", "create, each one, processor"):
            values = rows[f"files, {place}: {way}"]
            # So few operations may take less processor time than the host's kernel counts.
            least = 0 if "processor" in way else 1e-9
            is_good = set(values) == {"kata", "runc", "raw"} and all(value[0] >= least for value in values.values())
            assert is_good, (place, way, values)
    # Whatever the guest keeps, the host is asked to make a file, to write it, and to remove it.
    assert rows["files, root: create, each one"]["kata"][0] >= 2
    assert 1 <= rows["files, volume: unlink, each one"]["kata"][0] < 5
    for name in ("output, dd to the client's fifo", "input, the client's fifo to dd"):
        assert set(rows[name]) == {"kata", "runc", "raw"}


def test_what_is_no_shim_is_no_peer(prefix, tmp_path):
    done = subprocess.run([BENCH / "run", "--prefix", prefix, "--out", tmp_path, "--peer", "other=/there/is/none", "start"],
                          stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.strip().endswith("--peer other=/there/is/none: it is NAME=SHIM[:CONFIGURATION], with a program that can be run")


def samples_of(rows):
    made = Samples()
    for name, unit, values in rows:
        for subject, each in values.items():
            for value in each:
                made.add(name, unit, subject, value)
    return made


@pytest.mark.parametrize("now, verdict", [([20, 21, 22, 23], "WORSE"), ([5, 5, 5, 5], "better"), ([10, 11, 12, 12], None)])
def test_a_baseline_is_compared_by_ratios_and_spreads(now, verdict):
    before = samples_of([("start", "ms", {"kata": [10, 11, 12, 13], "raw": [10, 10, 10, 10]})])
    # On a machine that is twice as slow.
    after = samples_of([("start", "ms", {"kata": [2 * value for value in now], "raw": [20, 20, 20, 20]})])

    moved = list(after.moved(before, "kata", ("raw",)))

    assert [line.split()[0] for line in moved] == ([verdict] if verdict else [])
    assert not moved or "start: 1.15 -> " in moved[0]


def test_more_is_better_of_a_rate():
    before = samples_of([("calls", "/s", {"kata": [100, 101, 102, 103]})])
    after = samples_of([("calls", "/s", {"kata": [200, 201, 202, 203]})])

    assert list(after.moved(before, "kata", ("raw",)))[0].startswith("better calls")
