# SPDX-License-Identifier: Apache-2.0
"""The mounts of a container: those that everyone has, and binds, tmpfs, propagation."""
import os

from case import function, own, script

# What is under a mount point, without the numbers and the source's own options.
TABLE = "awk '{print $2, $3, $4}' /proc/mounts"


def mount(**words):
    def edit(spec):
        spec["mounts"].append({"destination": "/m", **words})
    return edit


script("mounts/places", "awk '{print $2}' /proc/mounts | sort", r"^/dev/shm$")
script("mounts/kinds", "awk '$2 != \"/\" {print $2, $3}' /proc/mounts | sort", r"^/dev/shm tmpfs$")
for _place in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/run", "/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq"):
    script(f"mounts/options-of-{_place[1:].replace('/', '-')}",
           f"awk '$2 == \"{_place}\" {{print $4}}' /proc/mounts | sed 's/,inode64//'", r"r[ow]")
script("mounts/root-options", "awk '$2 == \"/\" {print $4}' /proc/mounts | tr ',' '\\n' | grep -xE 'ro|rw|nosuid|nodev|noexec|.?.?relatime|noatime' | sort", r"^rw$")
script("mounts/root-read-only", "touch /x; awk '$2 == \"/\" {print $4}' /proc/mounts | cut -d, -f1; touch /dev/shm/x && echo shm; echo x >/run/x && echo run",
       r"Read-only file system", flags=("--read-only",))
script("mounts/propagation-of-root", "awk '$5 == \"/\"' /proc/self/mountinfo | grep -oE '(shared|master|propagate_from|unbindable)' || echo private", r".")
script("mounts/propagation-of-others", "awk '$5 != \"/\"' /proc/self/mountinfo | grep -cE ' (shared|master):' || true", r"^\d+$")
script("mounts/file-systems", "probe file-system / /dev /dev/shm /proc /sys /run /tmp", r"/dev/shm: longest name 255")
script("mounts/size-of-shm", "df -k /dev/shm | tail -n 1 | awk '{print $2}'; dd if=/dev/zero of=/dev/shm/x bs=1M count=70 2>/dev/null; echo $?; rm /dev/shm/x", r"^65536$")
script("mounts/size-of-dev", "df -k /dev | tail -n 1 | awk '{print $2}'", r"^65536$")
script("mounts/shm-no-exec", "cp /bin/busybox /dev/shm/b; /dev/shm/b true; echo $?; rm /dev/shm/b", r"^126$")
script("mounts/masked", "for p in acpi kcore keys latency_stats timer_list timer_stats sched_debug scsi; do test -e /proc/$p && echo $p $(wc -c </proc/$p 2>/dev/null || ls /proc/$p | wc -l); done; ls /sys/firmware | wc -l; true", r"keys 0")
script("mounts/read-only-proc", "for p in bus fs irq sys/kernel/domainname sysrq-trigger; do test -w /proc/$p && echo x >/proc/$p; done 2>&1 | sed 's/.*: //' | sort -u; echo end", r"end")
script("mounts/sys-read-only", "mkdir /sys/x; echo 1 >/sys/kernel/profiling; echo end", r"Read-only")
script("mounts/tmpfs", f"{TABLE} | grep '^/m ' | sed 's/,inode64//'; stat -c '%a %u %g' /m", r"^/m tmpfs .*nosuid",
       edit=mount(type="tmpfs", source="tmpfs", options=["nosuid", "nodev", "size=1m", "mode=0750", "uid=1000", "gid=2000"]))
script("mounts/tmpfs-size-met", "dd if=/dev/zero of=/m/x bs=1k count=2000 2>&1 | grep -o 'No space left on device'; stat -c %s /m/x", r"^1048576$",
       edit=mount(type="tmpfs", source="tmpfs", options=["size=1m"]))


def _copy_up(spec):
    spec["mounts"].append({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]})


script("mounts/tmpfs-copies-up", "cat /etc/hosts; stat -c '%a %u %n' /etc /etc/passwd", r"localhost", edit=_copy_up)
script("mounts/proc-again", f"{TABLE} | grep '^/m '; ls -d /m/1", r"^/m/1$", edit=mount(type="proc", source="proc"))
script("mounts/mqueue-again", f"{TABLE} | grep '^/m '", r"mqueue", edit=mount(type="mqueue", source="mqueue", options=["nosuid"]))
script("mounts/destination-is-made", "ls -ld /m/a/b | cut -d' ' -f1; ls /m", r"^drwx", edit=mount(destination="/m/a/b", type="tmpfs", source="tmpfs"))
script("mounts/destination-by-link", "readlink /var/link; mount | grep -c ' on /tmp ' || true", r".",
       edit=lambda spec: spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}))


@function("mounts/bind-shows-the-host's-files", r"^from the host$")
def _bind(side):
    with _folder(side) as folder:
        return side.outcome(side.run("sh", "-c", "cat /m/file; echo back >/m/back; ls -ln /m | awk '{print $1, $3, $4, $9}'",
                                     flags=("--mount", f"type=bind,src={folder},dst=/m,options=rbind:rw"))) + "\n" + (folder / "back").read_text()


@function("mounts/bind-read-only", r"Read-only file system")
def _bind_read_only(side):
    with _folder(side) as folder:
        return side.outcome(side.run("sh", "-c", f"cat /m/file; echo x >/m/x; rm /m/file; mkdir /m/d; mount -o remount,rw /m; {TABLE} | grep '^/m ' | cut -d' ' -f3 | cut -d, -f1",
                                     flags=("--mount", f"type=bind,src={folder},dst=/m,options=rbind:ro")))


@function("mounts/bind-of-a-file", r"^from the host$")
def _bind_file(side):
    with _folder(side) as folder:
        return side.outcome(side.run("sh", "-c", "cat /a/b/file; echo more >>/a/b/file; stat -c '%F' /a/b/file; mv /a/b/file /a/b/c",
                                     flags=("--mount", f"type=bind,src={folder}/file,dst=/a/b/file,options=rbind:rw"))) + "\n" + (folder / "file").read_text()


@function("mounts/bind-options", r"nosuid")
def _bind_options(side):
    with _folder(side) as folder:
        return side.outcome(side.run("sh", "-c", "awk '$2 == \"/m\" {print $4}' /proc/mounts | tr ',' '\\n' | grep -xE 'ro|rw|nosuid|nodev|noexec|noatime' | sort; cp /bin/busybox /m/b; /m/b true; echo $?",
                                     flags=("--mount", f"type=bind,src={folder},dst=/m,options=bind:rw:nosuid:nodev:noexec:noatime")))


@function("mounts/bind-follows-a-link", r"^from the host$")
def _bind_link(side):
    with _folder(side) as folder:
        os.symlink(folder, f"{folder}-link")
        try:
            return side.outcome(side.run("cat", "/m/file", flags=("--mount", f"type=bind,src={folder}-link,dst=/m,options=rbind:ro")))
        finally:
            os.unlink(f"{folder}-link")


@function("mounts/bind-sees-later-changes", r"^later$")
def _bind_later(side):
    with _folder(side) as folder, side.container("sleep", "10000", flags=("--mount", f"type=bind,src={folder},dst=/m,options=rbind:rw")) as identity:
        first = side.exec(identity, "cat", "/m/new")
        (folder / "new").write_text("later\n")
        second = side.exec(identity, "cat", "/m/new")
        (folder / "new").unlink()
        third = side.exec(identity, "ls", "/m")
        return "\n".join(map(side.outcome, (first, second, third)))


@function("mounts/bind-keeps-owners", r"^1234 5678 640$")
def _bind_owners(side):
    with _folder(side) as folder:
        (folder / "owned").write_text("x")
        os.chown(folder / "owned", 1234, 5678)
        os.chmod(folder / "owned", 0o640)
        result = side.run("sh", "-c", "stat -c '%u %g %a' /m/owned; touch /m/made; chown 4321:8765 /m/made; chmod 4711 /m/made",
                          flags=("--mount", f"type=bind,src={folder},dst=/m,options=rbind:rw"))
        made = (folder / "made").stat()
        return f"{side.outcome(result)}\n{made.st_uid} {made.st_gid} {made.st_mode:o}"


@function("mounts/bind-of-a-missing-source", r"exit 1")
def _bind_missing(side):
    result = side.run("true", flags=("--mount", "type=bind,src=/there-is-no-such-source,dst=/m,options=rbind:rw"))
    return side.failure(result, "/there-is-no-such-source")


def _folder(side):
    import contextlib
    import pathlib
    import shutil

    @contextlib.contextmanager
    def make():
        folder = pathlib.Path(side.directory / f"folder-{side.new_id()}")
        folder.mkdir()
        (folder / "file").write_text("from the host\n")
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
    return make()


own("mounts/mount-is-refused", "mount -t tmpfs none /tmp; umount /proc; mount -o remount,rw /proc/sys; echo end", r"ermission denied|not permitted")
own("mounts/mount-is-allowed", "mount -t tmpfs none /tmp && mount --bind /etc /tmp && ls /tmp", r"passwd",
    flags=("--privileged",))
