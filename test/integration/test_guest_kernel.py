# SPDX-License-Identifier: Apache-2.0
"""The guest has what docs/guest-kernel.md promises: asked by use, in one container that may do everything in its guest.

nft, iptables, ipset and ip are the host's own, seen through a bind mount of /usr.
"""
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent

# exit(42) through the 32-bit gate: the ELF header, one program header that maps the file, mov $1,%eax; mov $42,%ebx; int $0x80.
ELF32 = bytes.fromhex(
    "7f454c46010101000000000000000000" "0200030001000000548004083400000000000000000000003400200001000000" "00000000"
    "01000000000000000080040800800408600000006000000005000000" "00100000"
    "b801000000bb2a000000cd80")

PROBE = ("landlock memfd_secret mempolicy ldt iopl pkey ksm perf alg_hash alg_xts audit xfrm pf_key mptcp bbr tls "
         "dm_crypt log_is_closed no_vsock_loopback").split()

FILE_SYSTEMS = "overlay fuse virtiofs ext2 ext4 xfs erofs squashfs iso9660 vfat 9p autofs".split()

NFT_RULES = """
table inet t {
  set addresses { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
  chain zones { type filter hook prerouting priority raw; ct zone set 1; }
  chain in { type filter hook input priority filter;
    ip saddr @addresses ct mark set 1 log prefix "in" counter limit rate 1/second
    quota over 1 mbytes drop
    tcp dport 1 queue num 0
    socket transparent 1 accept
    tcp dport 2 reject with tcp reset
    fib saddr type local accept
  }
  chain pre { type filter hook prerouting priority mangle; tcp dport 3 tproxy ip to 127.0.0.1:3; }
  chain post { type nat hook postrouting priority srcnat; masquerade; }
}
"""

# Both kinds of iptables take the same rules; {ipt} is the program.
IPTABLES_RULES = """
{ipt} -A INPUT -p tcp --dport 1 -j REJECT --reject-with tcp-reset
{ipt} -A INPUT -m conntrack --ctstate NEW -m limit --limit 1/s -j LOG --log-prefix in
{ipt} -A INPUT -m set --match-set addresses src -j ACCEPT
{ipt} -A INPUT -m ipvs --ipvs -j ACCEPT
{ipt} -A INPUT -m hashlimit --hashlimit-name h --hashlimit-above 9/s -m recent --set -j NFQUEUE
{ipt} -A INPUT -m string --algo bm --string x -m u32 --u32 0=0 -j NFLOG
{ipt} -t mangle -A PREROUTING -j CONNMARK --save-mark
{ipt} -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 3 --tproxy-mark 1
{ipt} -t mangle -A PREROUTING -m socket -j SET --add-set addresses src
{ipt} -t raw -A PREROUTING -p udp -j CT --zone 1
{ipt} -t nat -A POSTROUTING -j MASQUERADE
"""

# name: a shell's condition
CONDITIONS = {
    "pressure": "grep -q some /proc/pressure/memory",
    "pressure of a container": "grep -q some /sys/fs/cgroup/memory.pressure",
    "no configuration": "test ! -e /proc/config.gz",
    "a 32-bit program": "/probe/elf32; test $? = 42",
    "vsyscall of old programs": "grep -q vsyscall /proc/self/maps",
    "smaps": "grep -q Pss /proc/self/smaps_rollup",
    "io accounting": "grep -q read_bytes /proc/self/io",
    "scheduler statistics": "grep -q ^cpu0 /proc/schedstat",
    "perf's cgroup controller": "grep -q ^perf_event /proc/cgroups",
    "process ids up to 4194304": "echo 4194304 >/proc/sys/kernel/pid_max",
    "dmesg_restrict": "grep -qx 1 /proc/sys/kernel/dmesg_restrict",
    "plugged memory is online": "grep -qx online /sys/devices/system/memory/auto_online_blocks",
    "no loop devices": "! ls -d /sys/block/loop*",
    "loop devices on demand": "grep -q loop-control /proc/misc",
    "the host's words by the firmware": "test $(wc -c </sys/firmware/qemu_fw_cfg/by_name/opt/org.katacontainers/token_sha256/raw) = 64",
    "no word of the boot on the command line": "! grep -q token /proc/cmdline",
    "machine generation": "test -d /sys/bus/acpi/drivers/vmgenid",
    "PCIe hot-plug": "test -d /sys/bus/pci_express/drivers/pciehp",
    "page tables apart (Meltdown)": "grep -q ' pti_finalize$' /proc/kallsyms",
    "congestion": "test \"$(tr ' ' '\\n' </proc/sys/net/ipv4/tcp_available_congestion_control | sort | xargs)\" = 'bbr cubic reno'",
    "cubic by default": "grep -qx cubic /proc/sys/net/ipv4/tcp_congestion_control",
    "IPVS": "test -e /proc/net/ip_vs",
    "file systems": f"for f in {' '.join(FILE_SYSTEMS)}; do grep -qw $f /proc/filesystems || {{ echo no $f; false; }} || exit 1; done",
    "system calls and sockets": f"/probe/probe {' '.join(PROBE)}",
    "ipset": "ipset create addresses hash:net && ipset add addresses 10.0.0.0/8",
    "nft": "nft -f /probe/rules.nft",
    "iptables-nft": "sh -e /probe/iptables-nft",
    "iptables-legacy": "sh -e /probe/iptables-legacy",
    "wireguard": "/usr/bin/ip link add wg0 type wireguard",
    "macvtap": "/usr/bin/ip link add d0 type dummy && /usr/bin/ip link add link d0 name mt0 type macvtap",
    "policies of IPsec": "/usr/bin/ip xfrm policy add src 10.0.0.1 dst 10.0.0.2 dir out action block",
}

# By the name of the fragment in configs/kernel/optional; KATA_KERNEL_FRAGMENTS tells which the kernel was built with.
OPTIONAL = {
    "btrfs": {"btrfs": "grep -qw btrfs /proc/filesystems"},
    "cifs": {"CIFS": "grep -qw cifs /proc/filesystems"},
    "nfs": {"NFS": "grep -qw nfs /proc/filesystems && grep -qw nfs4 /proc/filesystems"},
    "ipsec": {"ESP": "/usr/bin/ip xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 1 mode tunnel aead "
                     "'rfc4106(gcm(aes))' 0x0102030405060708090a0b0c0d0e0f1011121314 128"},
    "sctp": {"SCTP": "/probe/probe sctp"},
    "btf": {"BTF": 'test "$(head -c 2 /sys/kernel/btf/vmlinux | od -An -tx1)" = " 9f eb"'},
    "ftrace": {"function tracer": "mount -t tracefs none /tracing && grep -qw function /tracing/available_tracers"},
    "retpoline-6.1": {"thunks": "grep -q ' __x86_indirect_thunk_rax$' /proc/kallsyms"},
    "retpoline-6.12": {"thunks": "grep -q ' __x86_indirect_thunk_rax$' /proc/kallsyms"},
    "trace": {
        "perf's kprobes": "test -d /sys/bus/event_source/devices/kprobe",
        "kprobe events": "mount -t tracefs none /tracing && echo 'p:k do_exit' >/tracing/kprobe_events && "
                         "grep -q kprobes/k /tracing/kprobe_events",
        "BPF on kprobes": "/probe/probe bpf_kprobe",
    },
}
for fragment in os.environ.get("KATA_KERNEL_FRAGMENTS", "").split():
    CONDITIONS |= OPTIONAL[fragment]


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A directory with the programs and rules."""
    directory = tmp_path_factory.mktemp("probe")
    directory.parent.chmod(0o755)
    directory.chmod(0o755)
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", directory / "probe", HERE / "kernel_probe.c"], check=True)
    (directory / "elf32").write_bytes(ELF32)
    (directory / "elf32").chmod(0o755)
    (directory / "rules.nft").write_text(NFT_RULES, encoding="utf-8")
    for name in ("iptables-nft", "iptables-legacy"):
        (directory / name).write_text(IPTABLES_RULES.format(ipt=name), encoding="utf-8")
    script = ["ln -s usr/lib /lib; ln -s usr/lib64 /lib64; mkdir -p /tracing", "export PATH=/bin:/usr/sbin:/usr/bin"]
    for name, condition in CONDITIONS.items():
        script.append(f"( {condition} ) >/tmp/said 2>&1 && echo \"yes: {name}\" || "
                      f"{{ echo \"NO: {name}:\" $(cat /tmp/said); }}")
    (directory / "script").write_text("\n".join(script) + "\n", encoding="utf-8")
    return directory


def everything(spec, probe):
    """The specification of a container that may do everything in its guest."""
    names = [f"CAP_{name}" for name in (
        "SYS_ADMIN NET_ADMIN NET_RAW SYS_RAWIO SYSLOG MKNOD BPF PERFMON SYS_RESOURCE DAC_OVERRIDE CHOWN FOWNER AUDIT_WRITE "
        "AUDIT_CONTROL SYS_PTRACE").split()]
    for kind in ("bounding", "effective", "permitted"):
        spec["process"]["capabilities"][kind] = names
    spec["linux"]["maskedPaths"] = []
    spec["linux"]["readonlyPaths"] = []
    spec["linux"].pop("seccomp", None)
    spec["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    for mount in spec["mounts"]:
        if mount["destination"] == "/proc":
            mount["options"] = [option for option in mount.get("options", []) if option != "ro"]
    spec["mounts"] += [
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]},
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
        {"destination": "/probe", "type": "bind", "source": str(probe), "options": ["rbind", "ro"]}]
    return spec


def test_guest_has_what_its_document_promises(kata, probe):
    result = kata.run_config(everything(kata.default_spec("sh", "/probe/script"), probe))

    assert result.code == 0, result.err
    lines = result.out.decode().splitlines()
    assert [line for line in lines if not line.startswith("yes: ")] == []
    assert len(lines) == len(CONDITIONS)
