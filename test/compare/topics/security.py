# SPDX-License-Identifier: Apache-2.0
"""Capabilities, seccomp, keyrings: what a process may do."""
from case import execute, own, script

PLAIN = ("mount umount pivot_root chroot unshare-user unshare-mount unshare-net unshare-files setns clone3 clone-user keyctl add_key "
         "request_key bpf perf_event_open userfaultfd ptrace process_vm_readv kcmp reboot kexec_load init_module delete_module "
         "swapon acct quotactl sethostname settimeofday clock_settime adjtimex iopl ioperm syslog syslog-read personality "
         "personality-linux open_by_handle_at name_to_handle_at fanotify_init lookup_dcookie move_pages mbind get_mempolicy "
         "io_uring_setup pidfd_getfd pidfd_open process_madvise memfd_create memfd_secret openat2 faccessat2 close_range epoll_pwait2 "
         "statx rseq fsopen open_tree move_mount mount_setattr landlock_create_ruleset fchmodat2 beyond-all vhangup nfsservctl "
         "uselib ustat sysfs modify_ldt arch_prctl sched_setscheduler-fifo setpriority-up setpriority-down setdomainname mlock "
         "setuid setgroups raise-nofile oom-score-down oom-score-up").split()
GROUPS = {"mounts": PLAIN[0:4], "namespaces": PLAIN[4:11], "keys": PLAIN[11:14], "tracing": PLAIN[14:20], "machine": PLAIN[20:27],
          "names-and-clock": PLAIN[27:31], "ports": PLAIN[31:33], "kernel-log": PLAIN[33:35], "personality": PLAIN[35:37],
          "handles": PLAIN[37:41], "memory-policy": PLAIN[41:44], "newer": PLAIN[44:55], "mount-descriptors": PLAIN[55:59],
          "newest": PLAIN[59:62], "old": PLAIN[62:69], "scheduling": PLAIN[69:73], "own-limits": PLAIN[73:]}
for _name, _calls in GROUPS.items():
    _words = " ".join(_calls)
    script(f"security/calls-{_name}", f"probe calls {_words}", rf"^{_calls[0]}: ")
    script(f"security/seccomp-calls-{_name}", f"probe calls {_words}", rf"^{_calls[0]}: ", flags=("--seccomp",))
    script(f"security/privileged-calls-{_name}", f"probe calls {_words}", rf"^{_calls[0]}: ", flags=("--privileged",))

script("security/seccomp-is-on", "grep -E '^Seccomp' /proc/self/status", r"Seccomp:\s2", flags=("--seccomp",))
script("security/seccomp-is-off", "grep -E '^Seccomp' /proc/self/status", r"Seccomp:\s0")
execute("security/seccomp-in-exec", "grep -E '^Seccomp:' /proc/self/status; probe calls mount unshare-user beyond-all", r"Seccomp:\s2", flags=("--seccomp",))
script("security/capability-added", "probe capabilities", r"CapEff:\s0+a82425fb", flags=("--cap-add", "CAP_SYS_ADMIN"))
script("security/capability-dropped", "probe capabilities; chown 1 /tmp", r"CapEff:\s0+a80425fa", flags=("--cap-drop", "CAP_CHOWN"))
script("security/privileged", "probe capabilities | grep -v Bnd; probe file nodes /var/n", r"CapInh", flags=("--privileged",))
script("security/privileged-has-no-masks", "ls /proc/keys /proc/timer_list; awk '$2 ~ \"^/proc/\" || $2 ~ \"^/sys/\" {print $2}' /proc/mounts; awk '$2 == \"/sys\" {print $4}' /proc/mounts | cut -d, -f1", r"^rw$", flags=("--privileged",))


def capabilities(**sets):
    def edit(spec):
        spec["process"]["capabilities"] = sets
    return edit


NET = ["CAP_NET_BIND_SERVICE", "CAP_KILL"]


def _ambient(spec):
    capabilities(bounding=NET, effective=NET, permitted=NET, inheritable=NET, ambient=NET)(spec)
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}


def _action(action, **more):
    def edit(spec):
        spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                                    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": action, **more}]}
    return edit


script("security/ambient", "probe capabilities", r"CapAmb:\s0+420", edit=_ambient)
script("security/inheritable", "probe capabilities", r"CapInh:\s0+420",
       edit=capabilities(bounding=NET, effective=NET, permitted=NET, inheritable=NET))
script("security/no-capabilities", "probe capabilities; chown 1 /tmp; cat /root/x; id -u", r"CapEff:\s0+$", edit=capabilities())
script("security/seccomp-errno", "mkdir /tmp/x; echo $?", r"exchange|Invalid exchange|error", edit=_action("SCMP_ACT_ERRNO", errnoRet=52))
script("security/seccomp-errno-default", "mkdir /tmp/x; echo $?", r"not permitted", edit=_action("SCMP_ACT_ERRNO"))
own("security/seccomp-kill", "sh -c 'mkdir /tmp/x'; echo $?", r"^159$", edit=_action("SCMP_ACT_KILL"))
own("security/seccomp-kill-process", "sh -c 'mkdir /tmp/x'; echo $?", r"^159$", edit=_action("SCMP_ACT_KILL_PROCESS"))
own("security/seccomp-trap", "sh -c 'mkdir /tmp/x'; echo $?", r"^159$", edit=_action("SCMP_ACT_TRAP"))
script("security/seccomp-log", "mkdir /tmp/x; echo $?", r"^0$", edit=_action("SCMP_ACT_LOG"))


def _by_argument(spec):
    def rule(call, index):
        return {"names": [call], "action": "SCMP_ACT_ERRNO", "args": [{"index": index, "value": 0o700, "op": "SCMP_CMP_EQ"}]}
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                                "syscalls": [rule("chmod", 1), rule("fchmodat", 2)]}


script("security/seccomp-argument", "chmod 700 /tmp; echo $?; chmod 1777 /tmp; echo $?", r"^1$", edit=_by_argument)
script("security/keyring", "probe keyring | sed 's/[0-9a-f]\\{64\\}/ID/; s/;[0-9a-f]*;/;/g'", r"session keyring: ok")
script("security/sockets", "probe sockets", r"unix: ok")
script("security/sockets-as-user", "su user -c 'probe sockets'", r"inet raw: EPERM")
script("security/low-port-as-user", "su user -c 'nc -l -p 80 -w 1' 2>&1 | grep -oE 'denied|not permitted' || echo bound", r".")
script("security/kernel-log", "dmesg 2>&1 | tail -n 1 | grep -o 'not permitted' || echo read", r".")
script("security/attributes-of-lsm", "cat /proc/self/attr/current 2>/dev/null || echo none", r".")
