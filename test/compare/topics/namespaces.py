# SPDX-License-Identifier: Apache-2.0
"""Namespaces: which are a container's own, and joining others."""
from case import execute, function, script


def without(kind):
    def edit(spec):
        spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != kind]
        spec.pop("hostname", None)
    return edit


script("namespaces/kinds", "ls /proc/self/ns", r"^pid$")
script("namespaces/same-as-init", "for n in /proc/self/ns/*; do test $(readlink $n) = $(readlink /proc/1/ns/${n##*/}) && echo ${n##*/}; done", r"^uts$")
script("namespaces/user-map", "awk '{print $1, $2, $3}' /proc/self/uid_map; cat /proc/self/setgroups", r"^0 0 4294967295$")
script("namespaces/hostname-may-not-be-set", "hostname other; hostname", r"not permitted")
script("namespaces/unshare-user", "unshare -U true; echo $?", r"^\d+$")
script("namespaces/ipc-is-empty", "ipcs -m | grep -c 0x; ls /dev/mqueue | wc -l", r"^0$")
script("namespaces/cgroup-root", "cut -d: -f3 /proc/self/cgroup | sort -u | sed 's/.*ID$/ID/'", r".")
script("namespaces/processes-of-host-pid", "test $(ls -d /proc/[0-9]* 2>/dev/null | wc -l) -gt 5 && echo many; echo $$ | grep -c '^1$'", r".", edit=without("pid"))
script("namespaces/without-ipc", "ls -ld /dev/mqueue | cut -c1-10; ipcs -m | grep -c 0x", r".", edit=without("ipc"))
script("namespaces/without-cgroup", "ls /proc/self/ns | grep -c cgroup", r"^1$", edit=without("cgroup"))
execute("namespaces/exec-is-in-all", "for n in /proc/self/ns/*; do test $(readlink $n) = $(readlink /proc/1/ns/${n##*/}) && echo ${n##*/}; done", r"^uts$")
execute("namespaces/exec-sees-init", "cat /proc/1/comm; set -- /proc/[0-9]*; echo $#", r"^sleep$")


@function("namespaces/join-of-a-missing-path", r"exit 1")
def _missing(side):
    return side.failure(side.run("true", flags=("--with-ns", "network:/there-is-no-such-namespace")), "/there-is-no-such-namespace")
