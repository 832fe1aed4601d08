# SPDX-License-Identifier: Apache-2.0
"""A program of the client's takes a container's output (binary://)."""

import harness

LOGGER = """#!/bin/sh
# The second argument is the file to write; ready once it is there.
out=$2
echo "id=$CONTAINER_ID namespace=$CONTAINER_NAMESPACE" >"$out"
exec 5>&-
cat <&3 >>"$out"
cat <&4 >>"$out.err"
echo end >>"$out"
"""


def start(kata, directory, identity, script):
    logger = directory / "logger"
    logger.write_text(LOGGER, encoding="utf-8")
    logger.chmod(0o755)
    out = directory / f"log-{identity}"
    result = kata.ctr("run", "--detach", "--runtime", harness.RUNTIME, "--log-uri", f"binary://{logger}?out={out}",
                      harness.IMAGE, identity, "sh", "-c", script)
    assert result.code == 0, f"{result.err}\n{kata.log_tail()}"
    return out


def test_logger_gets_all_output_and_the_end(kata, tmp_path):
    identity = kata.new_id()
    out = start(kata, tmp_path, identity, "echo hello; echo oops >&2; exit 3")

    harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")
    kata.remove(identity)

    lines = out.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == [f"id={identity} namespace={harness.NAMESPACE}", "hello"]
    assert out.with_name(out.name + ".err").read_text(encoding="utf-8") == "oops\n"


def test_logger_that_is_not_there_is_named_and_nothing_is_left(kata, tmp_path):
    identity = kata.new_id()
    result = kata.ctr("run", "--detach", "--runtime", harness.RUNTIME, "--log-uri", f"binary://{tmp_path}/nothing",
                      harness.IMAGE, identity, "true")

    assert result.code != 0
    assert f"{tmp_path}/nothing" in result.err and "no such file or directory" in result.err.lower()
    kata.remove(identity)


def test_logger_ends_when_the_shim_is_killed(kata, tmp_path):
    identity = kata.new_id()
    out = start(kata, tmp_path, identity, "echo hello; exec sleep 1000")
    harness.wait_for(lambda: "hello" in out.read_text(encoding="utf-8"), "the first line")

    harness.kill(kata.shim_pids(identity))

    harness.wait_for(lambda: out.read_text(encoding="utf-8").endswith("end\n"), "the logger to see the end")
    harness.wait_for(lambda: identity not in kata.tasks(), "containerd to forget the task")
    kata.remove(identity)
