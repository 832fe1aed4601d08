# SPDX-License-Identifier: Apache-2.0
"""Every byte in and out, in order, on the right stream, to the last one."""
import concurrent.futures
import hashlib
import subprocess

import harness

BIG_MIB = 64
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
    size = BIG_MIB << 20
    client = subprocess.Popen(kata.run_command("sh", "-c", f"yes 0123456789abcdef | head -c {size}"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    got, length = hashlib.sha256(), 0
    while chunk := client.stdout.read(1 << 20):
        got.update(chunk)
        length += len(chunk)

    assert client.wait(timeout=harness.COMMAND_SECONDS) == 0
    assert length == size
    assert got.hexdigest() == hashlib.sha256((PATTERN * (size // len(PATTERN) + 1))[:size]).hexdigest()


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
