# SPDX-License-Identifier: Apache-2.0
"""Resource limits: rlimits as set and as met, memory, processes, processors."""
from case import own, script


def rlimits(**limits):
    def edit(spec):
        spec["process"]["rlimits"] = [{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, (soft, hard) in limits.items()]
    return edit


FEW = rlimits(NOFILE=(64, 128), FSIZE=(1 << 20, 1 << 20), CORE=(0, 0), CPU=(100, 200), DATA=(1 << 30, 1 << 30))
MORE = rlimits(STACK=(4 << 20, 8 << 20), MEMLOCK=(65536, 65536), MSGQUEUE=(1000, 2000), NICE=(0, 0), RTPRIO=(0, 0),
               NPROC=(500, 1000), AS=(1 << 30, 2 << 30), SIGPENDING=(100, 200), LOCKS=(5, 6), RSS=(1 << 20, 1 << 20), RTTIME=(1, 2))
NONE = rlimits()
CPU = rlimits(CPU=(1, 3))

script("limits/few", "probe rlimits | grep -E '^(nofile|fsize|core|cpu|data):'", r"nofile: 64 128", edit=FEW)
script("limits/more", "probe rlimits | grep -E '^(stack|memlock|msgqueue|nice|rtprio|nproc|as|sigpending|locks|rss|rttime):'", r"nproc: 500 1000", edit=MORE)
script("limits/default", "probe rlimits | grep -vE '^(nproc|sigpending|memlock|msgqueue|nofile)'", r"core: ")
script("limits/default-files", "probe rlimits | grep nofile", r"nofile: 1024 1024")
script("limits/without-any", "probe rlimits | grep -E '^(stack|as|core|data|fsize)'", r"as: unlimited", edit=NONE)
script("limits/files-met", "exec 3</dev/null; n=3; while [ $n -lt 70 ]; do n=$((n+1)); eval \"exec $n</dev/null\" || break; done; echo $n", r".", edit=FEW)
script("limits/file-size-met", "dd if=/dev/zero of=/tmp/big bs=1024 count=2000 2>/dev/null; echo $?; stat -c %s /tmp/big", r"^1048576$", edit=FEW)
own("limits/processor-time-met", "sh -c 'while :; do :; done'; echo $?", r"^1(37|52)$", edit=CPU)
script("limits/raise-soft", "ulimit -n 128 && ulimit -n", r"^128$", edit=FEW)
script("limits/raise-hard", "ulimit -Hn 4096 || echo refused; ulimit -Hn", r"128", edit=FEW)
script("limits/memory-inside", "test -e /sys/fs/cgroup/memory.max && cat /sys/fs/cgroup/memory.max || cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
       r"^67108864$", flags=("--memory-limit", str(64 << 20), "--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro"))
own("limits/memory-met", "sh -c 'x=a; while :; do x=$x$x; done'; echo child $?", r"child 137|exit 137", flags=("--memory-limit", str(64 << 20)))
own("limits/memory-enough", "dd if=/dev/zero of=/dev/shm/x bs=1M count=16 2>/dev/null; echo $?", r"^0$", flags=("--memory-limit", str(64 << 20)))


def _pids(spec):
    spec["linux"]["resources"]["pids"] = {"limit": 10}


def _shares(spec):
    spec["linux"]["resources"]["cpu"] = {"shares": 512, "quota": 50000, "period": 100000}
    spec["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]})


own("limits/processes-met", "n=0; while [ $n -lt 20 ]; do sleep 5 & n=$((n+1)); done 2>&1 | sed 's/.*: //' | head -n 1; echo end", r"Resource temporarily unavailable|can't fork", edit=_pids)
script("limits/processor-quota-inside", "if test -e /sys/fs/cgroup/cpu.max; then cat /sys/fs/cgroup/cpu.max; else echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us); fi",
       r"^50000 100000$", edit=_shares)
script("limits/processors", "test $(nproc) = $(grep -c ^processor /proc/cpuinfo) && echo agree", r"agree")
