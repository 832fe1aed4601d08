# SPDX-License-Identifier: Apache-2.0
"""Every byte in and out, in order, on the right stream, to the last one."""
import concurrent.futures
import contextlib
import hashlib
import os
import subprocess

import harness
from task_client import Exec, TaskClient

BLOCK_BYTES = 1_000_000
BLOCKS = 269  # more than 256 MiB together
RUNNING = 2  # of the Task API's states
SHORT_EXECS = 200
AT_ONCE = 8
PATTERN = b"0123456789abcdef\n"


def test_stdin_from_a_pipe_ends_with_eof(kata):
    text = b"one\ntwo\nthree\n" * 1000

    result = kata.run("sh", "-c", "cat; echo end", stdin=text)

    assert result.out == text + b"end\n"


def test_empty_stdin_ends_too(kata):
    assert kata.run("wc", "-c", stdin=b"").out.strip() == b"0"


def test_stderr_is_apart_from_stdout(kata):
    result = kata.run("sh", "-c", "echo out; echo err >&2; echo out2")

    assert result.out == b"out\nout2\n"
    assert result.err == "err\n"


def test_big_output_arrives_whole(kata):
    # Written from memory: `yes` itself would take most of the time.
    script = (f"yes {PATTERN.decode().strip()} | head -c {BLOCK_BYTES} >/dev/shm/block; n=0; while [ $n -lt {BLOCKS} ]; "
              "do echo block $n; cat /dev/shm/block; n=$((n + 1)); done; echo end")
    block = (PATTERN * (BLOCK_BYTES // len(PATTERN) + 1))[:BLOCK_BYTES]
    expected = hashlib.sha256()
    for number in range(BLOCKS):
        expected.update(b"block %d\n" % number + block)
    expected.update(b"end\n")

    client = subprocess.Popen(kata.run_command("sh", "-c", script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    got, length = hashlib.sha256(), 0
    while chunk := client.stdout.read(1 << 20):
        got.update(chunk)
        length += len(chunk)

    assert client.wait(timeout=harness.COMMAND_SECONDS) == 0
    assert length > 256 << 20
    assert got.hexdigest() == expected.hexdigest()


def size_of(process):
    size = 0
    while data := process.read():
        size += len(data)
    return size


def test_stalled_reader_stalls_only_its_own_process(kata):
    blocks = 128  # 8 MiB: far more than the fifo and the credit hold
    command = ("dd", "if=/dev/zero", "bs=64k", f"count={blocks}")
    with kata.container() as identity, contextlib.closing(TaskClient(kata.bundle(identity))) as client:
        stalled = Exec(client, identity, "stalled", *command).start()
        for number in range(2):
            flowing = Exec(client, identity, f"flowing{number}", *command).start()
            assert size_of(flowing) == blocks << 16
            assert flowing.wait() == 0
            flowing.delete()

        assert client.call("State", stalled.key)[4] == RUNNING
        assert size_of(stalled) == blocks << 16
        assert stalled.wait() == 0
        stalled.delete()


def test_stalled_reader_of_stdout_does_not_stall_stderr(kata):
    with kata.container() as identity, contextlib.closing(TaskClient(kata.bundle(identity))) as client:
        process = Exec(client, identity, "both", "sh", "-c",
                       "dd if=/dev/zero bs=64k count=64 2>/dev/null & echo words >&2; wait").start()

        harness.wait_for(lambda: process.read_now(process.stderr) == b"words\n", "the words on stderr")
        assert client.call("State", process.key)[4] == RUNNING
        assert size_of(process) == 64 << 16
        assert process.wait() == 0
        process.delete()


def test_big_input_arrives_whole(kata):
    data = PATTERN * 500_000

    result = kata.run("sha256sum", stdin=data)

    assert result.out.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_reader_that_starts_late_loses_nothing(kata):
    client = subprocess.Popen(kata.run_command("sh", "-c", "yes 0123456789abcdef | head -c 2000000; echo done >&2"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # The pipes between hold far less than 2 MB, so the container is stopped in mid-write now.
    harness.wait_for(lambda: any(status == "RUNNING" for _, status in kata.tasks().values()), "the container to run")

    out, err = client.communicate(timeout=harness.COMMAND_SECONDS)

    assert len(out) == 2_000_000
    assert err == b"done\n"


def test_last_words_before_exit_are_never_lost(kata):
    with kata.container() as identity, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        def speak(number):
            return kata.exec(identity, "sh", "-c", f"echo word {number}; echo last {number} >&2; exit {number % 100}")
        results = list(pool.map(speak, range(SHORT_EXECS)))

    wrong = [(n, r) for n, r in enumerate(results)
             if r.out != b"word %d\n" % n or f"last {n}\n" not in r.err or r.code != n % 100]
    assert not wrong


def test_terminal_has_the_clients_size_and_follows_it(kata):
    terminal = harness.Terminal(kata.run_command("sh", flags=("--tty",)), rows=33, columns=99)
    terminal.expect("# ")

    terminal.send("test -t 0 && test -t 1 && stty size; echo first''done\n")
    terminal.expect("33 99")
    terminal.expect("firstdone")
    terminal.resize(50, 120)
    terminal.send("while [ \"$(stty size)\" != '50 120' ]; do sleep 0.1; done; echo resi''zed; exit 7\n")
    terminal.expect("resized")

    assert terminal.close() == 7


def test_terminal_passes_control_c(kata):
    terminal = harness.Terminal(kata.run_command("sh", flags=("--tty",)))
    terminal.expect("# ")

    terminal.send('sh -c "echo run\'\'ning; exec sleep 1000"\n')
    terminal.expect("running")
    terminal.send("\x03")
    terminal.expect("# ")
    terminal.send("echo still he''re; exit 0\n")
    terminal.expect("still here")

    assert terminal.close() == 0


def test_terminal_answers_while_another_process_floods(kata):
    line = b"x" * 63 + b"\n"
    with kata.container() as identity, contextlib.closing(TaskClient(kata.bundle(identity))) as client:
        flood = Exec(client, identity, "flood", "dd", "if=/dev/zero", "bs=64k").start()
        echo = Exec(client, identity, "echo", "sh", "-c", "stty raw -echo; echo ready; exec cat", terminal=True).start()
        assert b"ready" in echo.read()
        for _ in range(50):
            os.write(echo.stdin, line)
            answer = b""
            while len(answer) < len(line):
                data = echo.read()
                assert data, f"no echo after {answer!r}"
                answer += data
            assert answer == line
            assert flood.read(), "the flood has stopped"  # gives way, but goes on
        for process in (flood, echo):
            process.kill()
            process.wait()
            process.delete()
