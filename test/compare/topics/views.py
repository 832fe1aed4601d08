# SPDX-License-Identifier: Apache-2.0
"""/proc and /sys as a program reads them."""
from case import script

for _file in ("cpuinfo", "meminfo", "stat", "uptime", "loadavg", "version", "filesystems", "mounts", "self/mountinfo", "self/maps",
              "self/status", "self/limits", "self/io", "self/cgroup", "self/stat", "self/statm", "self/smaps", "self/pagemap",
              "self/oom_score", "self/wchan", "self/sched", "self/schedstat", "self/auxv", "self/comm", "self/loginuid",
              "self/setgroups", "self/uid_map", "self/timens_offsets", "self/mountstats", "self/clear_refs", "self/attr/current",
              "diskstats", "interrupts", "softirqs", "vmstat", "zoneinfo", "buddyinfo", "slabinfo", "swaps", "devices", "misc",
              "partitions", "cgroups", "cmdline", "modules", "kallsyms", "config.gz", "crypto", "locks", "kpagecount", "kmsg",
              "sysvipc/shm", "net/dev", "net/tcp", "net/unix", "net/route", "pressure/cpu", "key-users", "consoles", "vmallocinfo",
              "pagetypeinfo", "schedstat", "tty/drivers", "driver/rtc", "mtrr", "iomem", "ioports", "dma", "fb", "execdomains"):
    script(f"views/proc-{_file.replace('/', '-')}",
           f"test -e /proc/{_file} && stat -c '%A' /proc/{_file} && if timeout 2 head -c 100 /proc/{_file} >/tmp/v 2>/dev/null; then "
           "test -s /tmp/v && echo has text || echo empty; else echo cannot be read; fi || echo none",
           r"^(none|has text|empty|cannot be read)$")
for _file in ("kernel/ostype", "kernel/overflowuid", "kernel/cap_last_cap", "kernel/ngroups_max", "kernel/random/boot_id",
              "kernel/threads-max", "kernel/randomize_va_space", "kernel/core_pattern", "kernel/dmesg_restrict", "kernel/kptr_restrict",
              "kernel/unprivileged_bpf_disabled", "kernel/perf_event_paranoid", "kernel/yama/ptrace_scope", "kernel/sem", "kernel/shmall",
              "kernel/shmmax", "kernel/shmmni", "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/modules_disabled",
              "kernel/keys/maxkeys", "kernel/seccomp/actions_avail", "vm/overcommit_memory", "vm/max_map_count", "vm/swappiness",
              "vm/mmap_min_addr", "fs/file-max", "fs/nr_open", "fs/pipe-max-size", "fs/protected_hardlinks", "fs/protected_symlinks",
              "fs/protected_fifos", "fs/protected_regular", "fs/suid_dumpable", "fs/inotify/max_user_instances",
              "fs/inotify/max_user_watches", "fs/mqueue/msg_max", "fs/lease-break-time", "user/max_user_namespaces",
              "net/core/somaxconn", "net/ipv4/ip_forward", "net/ipv4/ip_local_port_range", "net/ipv4/ping_group_range",
              "net/ipv4/ip_unprivileged_port_start", "net/ipv4/tcp_syncookies", "net/ipv6/conf/all/disable_ipv6"):
    # Values that come of the machine's size are not compared, only that they are there.
    _value = "cat" if _file not in ("kernel/random/boot_id", "kernel/threads-max", "fs/file-max", "kernel/core_pattern",
                                    "user/max_user_namespaces", "fs/inotify/max_user_watches", "vm/mmap_min_addr") else "wc -l"
    script(f"views/sysctl-{_file.replace('/', '-')}", f"{_value} </proc/sys/{_file} 2>/dev/null || echo none", r".")
script("views/sysctl-is-read-only", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/kernel/panic; echo end", r"Read-only")
script("views/sys", "ls /sys", r"^kernel$")
script("views/sys-class-net", "ls /sys/class/net", r"^lo$")
script("views/sys-firmware", "ls -A /sys/firmware", r".")
script("views/sys-kernel", "ls -d /sys/kernel/security /sys/kernel/debug /sys/kernel/mm /sys/kernel/uevent_seqnum; ls -A /sys/kernel/security /sys/kernel/debug | wc -l", r"mm")
script("views/sys-devices", "ls -d /sys/devices/system/cpu/cpu0 /sys/devices/system/node /sys/devices/virtual", r"cpu0")
script("views/sys-cgroup", "ls /sys/fs/cgroup | wc -l", r"^0$")
script("views/memory-is-told", "free -m | awk '/Mem/ {print ($2 > 100)}'", r"^1$")
script("views/uptime-runs", "a=$(cut -d. -f1 /proc/uptime); sleep 1.2; b=$(cut -d. -f1 /proc/uptime); test $b -gt $a && echo runs", r"runs")
script("views/clock-agrees", "test $(date +%s) -gt 1700000000 && echo now", r"now")
script("views/start-time", "test $(stat -c %Y /proc/1) -gt 1700000000 && echo now", r"now")
script("views/network", "ip -o addr | awk '{print $2, $3, $4}'; ip route", r"^lo inet|.")
script("views/loopback", "ip -o link show lo | grep -oE 'UP|DOWN|UNKNOWN' | head -n 1; ping -c 1 -W 2 127.0.0.1 >/dev/null && echo answers", r".")
script("views/tcp-on-loopback", "(echo hello | nc -l -p 5555 -w 3 &) ; sleep 0.5; nc -w 2 127.0.0.1 5555 </dev/null; echo $?", r".")
