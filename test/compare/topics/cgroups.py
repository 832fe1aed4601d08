# SPDX-License-Identifier: Apache-2.0
"""Control groups seen from inside. The host's version and the guest's may differ, so meanings are compared."""
from case import script

MOUNT = ("--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro:nosuid:noexec:nodev")
# `value V2 V1`: the first of both files that is there.
VALUE = 'value() { if test -e /sys/fs/cgroup/$1; then cat /sys/fs/cgroup/$1; else cat /sys/fs/cgroup/$2; fi; }; '


def _limits(spec):
    spec["linux"]["resources"].update(
        memory={"limit": 100 << 20, "reservation": 50 << 20}, cpu={"shares": 2048, "quota": 20000, "period": 50000}, pids={"limit": 77})
    spec["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]})


script("cgroups/mounted", "test $(ls /sys/fs/cgroup | wc -l) -gt 0 && echo there", r"there", flags=MOUNT)
script("cgroups/memory", VALUE + "value memory.max memory/memory.limit_in_bytes; value memory.low memory/memory.soft_limit_in_bytes", r"^104857600$", edit=_limits)
script("cgroups/pids", VALUE + "value pids.max pids/pids.max", r"^77$", edit=_limits)
script("cgroups/processor", "if test -e /sys/fs/cgroup/cpu.max; then cat /sys/fs/cgroup/cpu.max; else echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us); fi", r"^20000 50000$", edit=_limits)
script("cgroups/processes-are-listed", VALUE + "value cgroup.procs pids/cgroup.procs | grep -c '^1$'", r"^1$", edit=_limits)
script("cgroups/memory-unlimited", VALUE + "v=$(value memory.max memory/memory.limit_in_bytes); test \"$v\" = max || test $v -gt 1000000000000 && echo none", r"none", flags=MOUNT)
script("cgroups/pids-unlimited", VALUE + "value pids.max pids/pids.max", r"^max$", flags=MOUNT)
script("cgroups/usage-is-told", VALUE + "test $(value memory.current memory/memory.usage_in_bytes) -gt 0 && echo some", r"some", flags=MOUNT)
script("cgroups/writing-a-limit", "f=/sys/fs/cgroup/pids.max; test -e $f || f=/sys/fs/cgroup/pids/pids.max; echo max 2>/dev/null >$f; echo $?", r"^1$", edit=_limits)
