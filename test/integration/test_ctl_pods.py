# SPDX-License-Identifier: Apache-2.0
"""kata-ctl about pods: those that run, those that are over, and what dead shims have left."""
import contextlib
import json
import os
import re
import signal
import subprocess
import xml.etree.ElementTree

import harness
import management


def test_pods_are_listed_and_looked_into(kata, ctl, tmp_path):
    with kata.container() as identity:
        (line,) = [pod for pod in json.loads(ctl("ps", "--json")) if pod["pod"] == identity]
        assert (line["state"], line["containers"], line["sandbox"]) == ("running", 1, management.directory_of(identity).name)
        assert 16 << 20 < line["resident_bytes"] and line["machine_bytes"] >= 128 << 20 and line["age_seconds"] >= 0
        table = ctl("ps", "--wide").splitlines()
        assert table[0].split() == ["SANDBOX", "POD", "STATE", "CONTAINERS", "VCPUS", "MEMORY", "RESIDENT", "ACCEL", "BY", "AGE"]
        assert any(row.split()[:4] == [line["sandbox"], identity, "running", "1"] for row in table)
        assert identity in ctl("top", "--rounds", "2", "--delay", "1")

        assert json.loads(ctl("inspect", identity))["id"] == identity
        stats = ctl("stats", identity)
        assert "available" in stats and any(row.split()[0] == identity for row in stats.splitlines())
        assert "kata_guest_answers 1\n" in ctl("metrics", identity) and ctl("metrics", identity).endswith("# EOF\n")
        steps = [row.split(None, 4)[-1] for row in ctl("timeline", identity).splitlines()[1:]]
        assert steps[0] == "shim started" and steps[-1] == "container started"
        ctl("timeline", identity, "--svg", tmp_path / "line.svg")
        drawn = xml.etree.ElementTree.parse(tmp_path / "line.svg").getroot()
        words = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
        assert [word for word in words if not word.endswith(" ms")] == steps

        ctl("log-level", identity, "info")
        assert "the log's level is info now" in ctl("logs", identity).splitlines()[-1]
        assert "none is there" not in ctl("console", identity)


def test_names_that_fit_nothing_or_too_much(kata, ctl):
    assert 'there is no pod "nothing-of-the-kind" here' in ctl("inspect", "nothing-of-the-kind", code=1)
    assert "POD is required" in ctl("inspect", code=106)
    with kata.container() as one, kata.container() as other:
        both = ctl("inspect", kata.token, code=1)
        assert f'"{kata.token}" may mean any of ' in both and one in both and other in both


def test_the_log_outlives_its_pod(kata, ctl):
    with kata.container() as identity:
        name = management.directory_of(identity).name
    assert f"{name}\n" in ctl("logs")
    log = ctl("logs", identity)
    assert 'msg="timeline: container started"' in log and f"sandbox={identity}" in log
    assert "level=error" not in log
    assert ctl("logs", identity, "--console") == (harness.KATA_RUN / "ended" / name / "console").read_text(encoding="utf-8")


def test_the_log_of_a_killed_machine_says_so(kata, ctl):
    with kata.container() as identity:
        harness.kill(kata.qemu_pids(identity))
        harness.wait_for(lambda: kata.tasks()[identity][1] == "STOPPED", "the task to stop")
        harness.wait_for(lambda: "level=" in ctl("logs", identity), "the log")


def test_what_a_dead_shim_left_is_found_and_removed(kata, ctl):
    """containerd would have it removed, so it is away: the host's garbage after a bad night."""
    with kata.container() as living:
        dead = kata.new_id("dead")
        kata.start_detached(dead, "sleep", "1000")
        name = management.directory_of(dead).name
        shims, machines = kata.shim_pids(dead), kata.qemu_pids(dead)
        assert shims and machines
        kata.stop(signal.SIGKILL)
        try:
            harness.kill(shims)
            harness.wait_for(lambda: any(line["sandbox"] == name for line in json.loads(ctl("gc", "--json"))), "the find")
            said = ctl("gc")
            assert f"{name}: would be removed (its shim has ended)" in said and "gc --remove" in said
            assert living not in said and kata.qemu_pids(living)
            (line,) = [line for line in json.loads(ctl("ps", "--json")) if line["sandbox"] == name]
            assert line["state"] == "no answer"

            (line,) = [line for line in json.loads(ctl("gc", "--remove", "--json")) if line["sandbox"] == name]
            assert line["removed"]

            assert not kata.qemu_pids(dead) and not (harness.KATA_RUN / name).exists()
            assert not (harness.KATA_RUN / "shared" / name).exists() and not harness.cgroups_named(name)
            assert kata.qemu_pids(living) and management.state(living)["state"] == "running"
            assert 'msg="timeline: container started"' in ctl("logs", dead)
        finally:
            kata.start()
        kata.remove(dead)


def test_a_shim_that_has_no_room_or_no_time_is_not_taken_for_dead(kata, ctl):
    with kata.container() as identity:
        path, name = management.socket_of(identity), management.directory_of(identity).name
        shims = kata.shim_pids(identity)
        hanging = [management.connect(path) for _ in range(16)]
        try:
            assert name not in ctl("gc", "--remove")
            harness.kill(shims, signal.SIGSTOP)
            # More than wait in its queue.
            with contextlib.suppress(BlockingIOError, TimeoutError):
                for _ in range(100):
                    hanging.append(management.connect(path, timeout=0))
            assert name not in ctl("gc", "--remove")
        finally:
            harness.kill(shims, signal.SIGCONT)
            for client in hanging:
                client.close()
        assert kata.exec(identity, "echo", "alive").out == b"alive\n"


def test_a_directory_of_an_older_shim_is_left_alone(kata, ctl):
    path = harness.KATA_RUN / f"{kata.token}-old"
    path.mkdir()
    (path / "something").touch()
    try:
        assert f"{path.name}: left alone (no management socket" in ctl("gc", "--remove")
        assert (path / "something").exists()
        (path / "something").unlink()
        assert f"{path.name}: removed (an empty directory)" in ctl("gc", "--remove")
        assert not path.exists()
    finally:
        if path.exists():
            (path / "something").unlink(missing_ok=True)
            path.rmdir()
    assert os.path.isdir(harness.KATA_RUN)


def test_a_support_bundle_has_what_a_report_needs_and_no_secret(kata, ctl, tmp_path):
    archive = tmp_path / "report.tar.gz"
    with kata.container(flags=("--env", "DB_PASSWORD=hunter2")) as identity:
        said = ctl("support-bundle", "--output", archive)
        name = management.directory_of(identity).name
    files = subprocess.run(["tar", "-tzf", archive], capture_output=True, text=True, check=True).stdout.split()
    for wanted in ("LIST", "check.txt", "config.toml", "host/proc/meminfo", f"pods/{name}/state", f"pods/{name}/console"):
        assert f"./{wanted}" in files, files
    assert oct(archive.stat().st_mode & 0o777) == "0o600"
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    assert identity in (tmp_path / "pods" / name / "state").read_text(encoding="utf-8")
    assert "timeline: container started" in (tmp_path / "pods" / name / "log").read_text(encoding="utf-8")
    listed = (tmp_path / "LIST").read_text(encoding="utf-8")
    assert listed.splitlines()[0].startswith("check.txt ") and listed in said
    found = subprocess.run(["grep", "-r", "hunter2", tmp_path], capture_output=True, check=False)
    assert found.returncode == 1, found.stdout


def test_env_names_all_parts(ctl, prefix):
    facts = json.loads(ctl("env", "--json"))
    assert {"kata-ctl", "shim", "configuration", "kernel of the guest", "initrd of the guest", "emulator", "virtiofsd",
            "system"} <= set(facts)
    assert "QEMU emulator version" in facts["emulator"] and "sha256 " in facts["kernel of the guest"]
    assert ctl("version").splitlines()[0] == f"kata-ctl {facts['kata-ctl']}" and str(prefix) in facts["shim"]


def test_documents_name_commands_that_there_are(ctl):
    """Each "kata-ctl COMMAND --option" of a document, by what completes the words."""
    paths = re.findall(r"^ +'([a-z -]*)'\) words=\"([^\"$]*)", ctl("completion", "bash"), re.M)
    options = {path: {word for word in words.split() if word.startswith("-")} for path, words in paths}
    named = set()
    for document in (harness.REPOSITORY / "README.md", *(harness.REPOSITORY / "docs").glob("*.md")):
        text = document.read_text(encoding="utf-8")
        for code in re.findall(r"`kata-ctl ([^`|]+)`|^ *(?:sudo )?kata-ctl ([a-z-][^#|\n]*)", text, re.M):
            words = "".join(code).split()
            path = max((path for path in options if words[:len(path.split())] == path.split()), key=len)
            named.add(path)
            assert path or words[0] in ("COMMAND", *options[""]), (document.name, words)
            for word in words:
                assert not word.startswith("--") or word in ("--", *options[path]), (document.name, words)
    commands = {path for path in options if path and not any(other.startswith(path + " ") for other in options)}
    assert commands - named <= {"completion", "manual", "metrics", "console"}, "commands that no document names"


def test_shells_can_complete_its_words(ctl, prefix):
    script = prefix / "share/bash-completion/completions/kata-ctl"
    assert script.read_text(encoding="utf-8") == ctl("completion", "bash")

    def completed(*words):
        typed = " ".join(repr(word) for word in ("kata-ctl", *words))
        line = f'. {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _kata_ctl; echo "${{COMPREPLY[*]}}"'
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.split()
    assert completed("tim") == ["timeline"] and set(completed("config", "")) >= {"check", "show", "explain", "schema"}
    assert "--svg" in completed("timeline", "one", "--s") and completed("ps", "--j") == ["--json"]
    environment = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "LC_ALL": "C"}
    file = prefix / "share/fish/vendor_completions.d/kata-ctl.fish"
    said = subprocess.run(["fish", "--no-config", "-c", f"source {file}; complete -C 'kata-ctl config '; complete -C 'kata-ctl ps --j'"],
                          capture_output=True, text=True, env=environment, check=True)
    assert "check\twhether it can be read" in said.stdout and "\n--json\t" in said.stdout and not said.stderr, said
    # As its completion system calls a file of #compdef, with what would add the words.
    script = (f"completer() {{ source {prefix}/share/zsh/vendor-completions/_kata-ctl }}; compadd() {{ shift; print -l -- $@ }}; "
              "words=(kata-ctl config ''); CURRENT=3; completer; words=(kata-ctl timeline x ''); CURRENT=4; completer")
    said = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert {"check", "schema", "--svg"} <= set(said.stdout.split()) and not said.stderr, said
    page = subprocess.run(["man", "--warnings", "-l", prefix / "share/man/man8/kata-ctl.8"], capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "MANWIDTH": "100"}, check=False)
    assert page.returncode == 0 and page.stderr == "" and "support-bundle" in page.stdout, page


def test_programs_run_in_containers_while_containerd_is_down(kata, prefix):
    def run(*words, stdin=b""):
        command = [prefix / "bin/kata-ctl", "exec", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr.decode()

    def execs():
        return management.state(identity)["containers"][0]["execs"]

    with kata.container(flags=("--env", "FROM=spec")) as identity:
        kata.stop(signal.SIGKILL)
        try:
            script = "echo $FROM $MORE $PWD; echo bad >&2; exit 7"
            assert run(identity, "--env", "MORE=1", "--cwd", "/tmp", "--", "sh", "-c", script) == (7, b"spec 1 /tmp\n", "bad\n")
            data = os.urandom(1 << 20)
            assert run(identity, "cat", stdin=data) == (0, data, "")
            code, out, err = run(identity, "no-such-program")
            assert code == 1 and out == b"" and "no-such-program" in err, (code, err)
            terminal = harness.Terminal([str(prefix / "bin/kata-ctl"), "exec", "-t", identity, "--", "sh"], rows=31, columns=97)
            terminal.send("stty size; tty\n")
            terminal.expect("31 97")
            terminal.expect("/dev/pts/")
            terminal.resize(20, 60)
            terminal.send("stty size; exit 5\n")
            terminal.expect("20 60")
            assert terminal.close() == 5
            slow = subprocess.Popen([prefix / "bin/kata-ctl", "exec", identity, "sleep", "1000"], stdin=subprocess.DEVNULL)
            harness.wait_for(lambda: "running" in [process["state"] for process in execs()], "it")
            slow.terminate()
            assert slow.wait(timeout=60) == 128 + signal.SIGTERM
            harness.wait_for(lambda: not execs(), "the execs to be forgotten")
        finally:
            kata.start()
        assert not [path for path in os.listdir("/run") if path.startswith("kata-ctl-exec-")]
