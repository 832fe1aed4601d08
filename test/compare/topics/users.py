# SPDX-License-Identifier: Apache-2.0
"""Users, groups, and what comes of them."""
from case import execute, script


def as_user(uid, gid, *groups, **others):
    def edit(spec):
        spec["process"]["user"] = {"uid": uid, "gid": gid, **others}
        if groups:
            spec["process"]["user"]["additionalGids"] = list(groups)
    return edit


USER = as_user(1000, 1000)
GROUPS = as_user(1000, 1000, 2000, 3000)
UNKNOWN = as_user(54321, 54322)
UMASK = as_user(0, 0, umask=0o077)
ROOT_GROUPS = as_user(0, 0, 10, 20)

script("users/root", "probe ids", r"uid: 0 0 0")
script("users/root-capabilities", "probe capabilities", r"CapEff:\s0+a80425fb")
script("users/user", "probe ids", r"uid: 1000 1000 1000", edit=USER)
script("users/user-capabilities", "probe capabilities", r"CapEff:\s0+$", edit=USER)
script("users/user-name", "id", r"user", edit=USER)
script("users/user-home", "echo $HOME; cd; pwd", r".", edit=USER)
script("users/user-settings", "probe prctl", r"dumpable: ok", edit=USER)
script("users/user-owns-proc", "stat -c '%u %g' /proc/self /proc/1", r"^1000 1000$", edit=USER)
script("users/user-reads-init", "cat /proc/1/environ >/dev/null && echo yes; ls /proc/1/fd >/dev/null && echo yes", r".", edit=USER)
script("users/user-writes-tmp", "echo x >/tmp/user && stat -c '%u %g %a' /tmp/user", r"^1000 1000 644$", edit=USER)
script("users/user-denied", "cat /root/x; ls /root; echo x >/etc/x; kill -0 1 && echo own", r"denied", edit=USER)
script("users/user-stdio", "echo x >/dev/stdout; echo x >/dev/stderr; probe stdio-owner", r"uid", edit=USER)
script("users/user-calls", "probe calls setuid setgroups mlock setpriority-up setpriority-down chroot oom-score-up oom-score-down raise-nofile", r"chroot: EPERM", edit=USER)
script("users/user-limits", "grep -E 'processes|pending' /proc/self/limits >/dev/null && echo there", r"there", edit=USER)
script("users/groups", "probe ids; id -G", r"groups:.* 2000 3000", edit=GROUPS)
script("users/groups-of-root", "probe ids", r"groups:.* 10 20", edit=ROOT_GROUPS)
script("users/unknown-user", "id; probe ids; touch /tmp/u && stat -c '%u:%g' /tmp/u", r"54321:54322", edit=UNKNOWN)
script("users/umask", "umask; touch /tmp/m; stat -c %a /tmp/m", r"^600$", edit=UMASK)
script("users/su", "su user -c 'id; probe capabilities'", r"uid=1000")
# busybox gives up its rights itself, but for those programs that need them: cat is none. The probe does not.
script("users/setuid-program-without-new-privileges",
       "cp /bin/probe /tmp/su && chmod 4755 /tmp/su && su user -c '/tmp/su ids'", r"uid: 1000 1000 1000")
script("users/setuid-program", "cp /bin/probe /tmp/su && chmod 4755 /tmp/su && su user -c '/tmp/su ids'",
       r"uid: 1000 0 0", flags=("--allow-new-privs",))
script("users/file-capabilities-and-user", "grep -E '^Cap(Prm|Amb|Bnd)' /proc/self/status", r"CapAmb:\s0+$", edit=USER)
execute("users/exec-user", "id; probe ids", r"uid=1000", exec_flags=("--user", "1000"))
execute("users/exec-user-and-group", "probe ids", r"gid: 2000 2000", exec_flags=("--user", "1000:2000"))
execute("users/exec-user-by-name", "probe ids", r"uid: 1000 1000", exec_flags=("--user", "user"))
execute("users/exec-user-capabilities", "probe capabilities", r"CapBnd", exec_flags=("--user", "1000"))
execute("users/exec-user-tmp", "touch /tmp/e && stat -c '%u:%g' /tmp/e; ls /root", r"denied", exec_flags=("--user", "1000"))
