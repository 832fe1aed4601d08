# SPDX-License-Identifier: Apache-2.0
"""/dev, and which devices a container may use."""
from case import execute, own, script

script("devices/list", "ls -A /dev", r"^urandom$")
script("devices/modes", "stat -c '%n %A %t:%T %u:%g' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty", r"/dev/null crw-rw-rw- 1:3 0:0")
script("devices/links", "for l in fd stdin stdout stderr ptmx core; do readlink /dev/$l; done; true", r"^/proc/self/fd$")
script("devices/directories", "stat -c '%n %a' /dev /dev/shm /dev/pts /dev/mqueue", r"/dev/shm 1777")
script("devices/work", "echo x >/dev/null; head -c 4 /dev/zero | od -c | head -n 1; echo x >/dev/full; head -c 8 /dev/urandom | wc -c", r"No space left")
script("devices/new-terminal", "ls -l /dev/pts/ptmx | cut -c1-10; exec 3<>/dev/ptmx && ls /dev/pts", r"ptmx")
script("devices/dev-is-writable", "echo x >/dev/x && cat /dev/x; mkdir /dev/d && rmdir /dev/d; rm /dev/x", r"^x$")
script("devices/made-by-hand", "mknod /tmp/null c 1 3 && echo x >/tmp/null; mknod /tmp/mem c 1 1; cat /tmp/mem; mknod /tmp/tun c 10 200; : <>/tmp/tun; mknod /tmp/fuse c 10 229; : <>/tmp/fuse; echo end", r"not permitted")
script("devices/block-made-by-hand", "mknod /tmp/b b 254 0; dd if=/tmp/b of=/dev/null count=1 2>&1 | grep -o 'not permitted\\|No such.*'; echo end", r"not permitted")
script("devices/console-without-terminal", "ls /dev/console", r"No such file")
script("devices/privileged-may-read-memory", "mknod /tmp/null2 c 1 3 && echo x >/tmp/null2 && echo wrote", r"wrote", flags=("--privileged",))


def _device(spec):
    spec["linux"].setdefault("devices", []).append({"path": "/dev/of/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 5, "gid": 6})
    spec["linux"]["resources"].setdefault("devices", []).append({"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"})


def _fifo(spec):
    spec["linux"].setdefault("devices", []).append({"path": "/dev/pipe", "type": "p", "fileMode": 0o600})


def _rules(spec):
    spec["linux"]["resources"]["devices"] = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}]


script("devices/given", "stat -c '%A %t:%T %u:%g' /dev/of/mine; head -c 3 /dev/of/mine | wc -c", r"crw-r----- 1:5 5:6", edit=_device)
script("devices/fifo-given", "stat -c '%F %a' /dev/pipe", r"fifo", edit=_fifo)
script("devices/rules", "cat /dev/null && echo read; echo x >/dev/null; head -c 1 /dev/zero | wc -c; echo end", r"end", edit=_rules)
own("devices/read-random-large", "head -c 100000 /dev/urandom | wc -c", r"^100000$")
execute("devices/from-exec", "echo x >/dev/null && head -c 2 /dev/zero | wc -c; ls /dev | wc -l", r"^2$")
