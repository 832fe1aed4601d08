# SPDX-License-Identifier: Apache-2.0
"""What a process is when it starts: its place in the tree, its session, its settings."""
from case import command, own, script

script("processes/first-pid", "echo $$", r"^1$")
script("processes/parent", "cut -d' ' -f4 /proc/1/stat", r"^0$")
script("processes/none-of-others", "set -- /proc/[0-9]*; echo $#", r"^\d+$")
script("processes/command-line", "tr '\\0' '\\n' </proc/1/cmdline | head -n 2", r"^sh$")
script("processes/name", "cat /proc/1/comm", r"^sh$")
script("processes/executable", "readlink /proc/1/exe", r"^/bin/busybox$")
script("processes/directory", "readlink /proc/1/cwd; readlink /proc/1/root", r"^/$")
script("processes/umask", "umask; grep Umask /proc/1/status", r"0022")
script("processes/settings", "probe prctl", r"no new privileges: ok 1")
script("processes/dumpable-init", "ls -ld /proc/1/environ | cut -d' ' -f1; cat /proc/1/environ >/dev/null && echo readable", r"readable")
script("processes/scheduling", "probe scheduling", r"policy: 0")
script("processes/timer-slack", "cat /proc/1/timerslack_ns", r"not permitted|^50000$")
script("processes/autogroup", "cut -d' ' -f3 /proc/1/autogroup 2>/dev/null || echo none", r"nice|none|\d")
script("processes/core-filter", "cat /proc/1/coredump_filter", r"^000000")
script("processes/threads", "grep -E '^(Threads|TracerPid)' /proc/1/status", r"TracerPid:\s0")
script("processes/in-namespace", "grep -E '^NS(pid|tgid|pgid|sid)' /proc/1/status", r"NSpid:\s1$")
script("processes/traced", "probe ptrace", r"traced: ok")
script("processes/ipc", "probe ipc", r"seen in /dev/mqueue: ok")
script("processes/orphans-go-to-init", "(sh -c 'sh -c \"sleep 0.3; read a b c parent rest </proc/self/stat; echo \\$parent\" &'); sleep 1.5", r"^1$")
script("processes/fork-many", "n=0; while [ $n -lt 200 ]; do true & n=$((n+1)); done; wait; echo $n", r"^200$")
script("processes/pid-max", "test $(cat /proc/sys/kernel/pid_max) -ge 32768 && echo enough", r"enough")
command("processes/session-of-init", ("probe", "session"), r"leads its session: yes")
command("processes/descriptors-of-init", ("probe", "descriptors"), r"^0: ")
command("processes/settings-of-init", ("probe", "prctl"), r"seccomp: ok 0")
own("processes/zombie-is-reaped-by-init", "sh -c 'true & exec sleep 0.2'; sleep 0.5; wait; grep -l 'State:.Z' /proc/[0-9]*/status | wc -l", r"^\d+$")
own("processes/children-die-with-init", "sleep 1000 & exit 7", r"exit 7")
own("processes/exit-0", "exit 0", r"exit 0")
own("processes/exit-255", "exit 255", r"exit 255")
own("processes/exit-256", "exit 256", r"exit 0")
own("processes/killed-by-own-signal", "sh -c 'kill -SEGV $$'; exit $?", r"exit 139")
own("processes/abort", "kill -ABRT $$; echo init goes on; exit 4", r"init goes on")
command("processes/no-shell-needed", ("echo", "a  b", "", "$HOME", "*"), r"^a  b  \$HOME \*$")
command("processes/long-argument", ("sh", "-c", "echo ${#1}", "sh", "x" * 100000), r"^100000$")
command("processes/bytes-in-arguments", ("printf", "%s", "ä\n\tß"), "ä")


def _no_new_privileges_off(spec):
    spec["process"]["noNewPrivileges"] = False


def _oom(spec):
    spec["process"]["oomScoreAdj"] = 500


def _directory(spec):
    spec["process"]["cwd"] = "/made/by/the/runtime"


script("processes/new-privileges-allowed", "grep NoNewPrivs /proc/1/status", r"NoNewPrivs:\s0", edit=_no_new_privileges_off)
script("processes/oom-score-adj-set", "cat /proc/1/oom_score_adj /proc/self/oom_score_adj", r"^500$", edit=_oom)
script("processes/missing-directory-is-made", "pwd; ls -ld . | cut -d' ' -f1", r"^/made/by/the/runtime$", edit=_directory)
script("processes/directory-given", "pwd", r"^/tmp$", flags=("--cwd", "/tmp"))
script("processes/allow-new-privs", "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\s0", flags=("--allow-new-privs",))
