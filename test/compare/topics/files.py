# SPDX-License-Identifier: Apache-2.0
"""File operations on a container's root, in /dev/shm, and on a volume: the same program, the same answers."""
import pathlib
import shutil

from case import Case, add, script

OPERATIONS = {
    "temporary": r"linked: ok", "unlinked": r"pread: ok 1", "rename": r"no replace: EEXIST", "allocate": r"size: 65536",
    "holes": r"hole after it", "copy-range": r"copy_file_range: ok 5", "attributes": r"user again: EEXIST",
    "capability": r"set: ok", "locks": r"flock of another: EAGAIN", "lease": r"write lease", "watch": r"told: yes",
    "mapping": r"mapping sees a write: yes", "direct": r"O_DIRECT", "names": r"256: ENAMETOOLONG",
    "open-flags": r"append ignores the place: ok 1", "nodes": r"memory opened: EPERM", "unix-socket": r"connect: ok",
    "links": r"same inode: yes", "times": r"change: 1000000001\.987654321", "write-time": r"in the future: no",
    "set-ids": r"after a user's write: 755", "sticky": r"unlink: EPERM", "access": r"closed: EACCES",
    "setgid-directory": r"directory: 2755", "sizes": r"negative: EINVAL", "directories": r"entries: 302",
    "busy-text": r"write what runs: ETXTBSY", "resolve": r"beneath, out: EXDEV", "inode": r"links: 1",
    "handles": r"name_to_handle_at", "acl": r"user 1000 reads: EACCES", "supplementary-group": r"open: ok",
}
# What a file system of the host answers is the host's matter: only where the runtimes stand between.
for _operation, _has in OPERATIONS.items():
    script(f"files/root-{_operation}", f"probe file {_operation} /var/f-{_operation}", _has)
for _operation in ("temporary", "attributes", "locks", "mapping", "holes", "times"):
    script(f"files/shm-{_operation}", f"probe file {_operation} /dev/shm/f-{_operation}",
           OPERATIONS[_operation] if _operation != "attributes" else r"trusted")


def _on_volume(operation):
    def run(side):
        folder = pathlib.Path(side.directory / f"volume-{side.new_id()}")
        folder.mkdir()
        folder.chmod(0o755)
        try:
            return side.outcome(side.run("probe", "file", operation, "/m/f", flags=("--mount", f"type=bind,src={folder},dst=/m,options=rbind:rw")))
        finally:
            shutil.rmtree(folder)
    return run


# One machine each: the operations where a shared directory and a root could differ.
for _operation in ("attributes", "locks", "unlinked", "mapping", "nodes", "unix-socket"):
    add(Case(f"files/volume-{_operation}", OPERATIONS[_operation], function=_on_volume(_operation)))

script("files/image-owner-and-mode", "stat -c '%u %g %a %n' / /bin /etc /etc/passwd /root /tmp /bin/busybox", r"^0 0 1777 /tmp$")
script("files/overwrite-image-file", "echo more >>/etc/hosts && tail -n 1 /etc/hosts && mv /etc/hosts /etc/hosts2 && ls /etc/hosts2", r"^more$")
script("files/remove-image-directory", "mkdir /var/x && mv /var/x /var/y && rmdir /var/y && mv /home /home2 && ls -d /home2", r"^/home2$")
script("files/rename-image-directory-over", "mkdir /opt; touch /opt/a; rm -r /opt && mkdir /opt && ls /opt | wc -l", r"^0$")
script("files/many-small", "mkdir /var/many; i=0; while [ $i -lt 500 ]; do echo $i >/var/many/$i; i=$((i+1)); done; ls /var/many | wc -l; cat /var/many/* | md5sum", r"^500$")
script("files/big", "dd if=/dev/zero bs=1M count=20 2>/dev/null | tee /var/big | md5sum; md5sum </var/big; stat -c %s /var/big", r"^20971520$")
script("files/device-numbers-agree", "test $(stat -c %d /etc) = $(stat -c %d /bin/busybox) && echo one file system", r"one file system")
script("files/space-is-told", "df -k / | tail -n 1 | awk '{print ($2 > 1000), ($4 > 1000)}'", r"^1 1$")
script("files/inodes-are-told", "df -i / | tail -n 1 | awk '{print ($2 > 100)}'", r"^1$")
script("files/deleted-program-runs-on", "cp /bin/busybox /var/sleep; /var/sleep 1.5 & sleep 0.7; rm /var/sleep; wait $!; echo $?", r"^0$")
script("files/script-with-interpreter", "printf '#!/bin/sh\necho by $0 $1\n' >/var/s; chmod 755 /var/s; /var/s arg", r"^by /var/s arg$")
script("files/not-executable", "echo x >/var/n; /var/n; echo $?", r"^126$")
