# SPDX-License-Identifier: Apache-2.0
"""Environment, host name, and the small settings of the configuration."""
from case import command, execute, script


def environment(*words):
    def edit(spec):
        spec["process"]["env"] = list(words)
    return edit


def _hostname(spec):
    spec["hostname"] = "a-name-of-its-own"


def _domain(spec):
    spec["hostname"] = "name"
    spec["linux"]["sysctl"] = {"kernel.domainname": "example.test"}


def _sysctl(spec):
    spec["linux"]["sysctl"] = {"kernel.shmmax": "123456", "kernel.msgmax": "4096", "net.ipv4.ip_unprivileged_port_start": "80",
                               "fs.mqueue.msg_max": "20"}


command("environment/default", ("env",), r"^PATH=")
command("environment/given", ("env",), r"^WORD=x=y z$", flags=("--env", "WORD=x=y z", "--env", "EMPTY=", "--env", "PATH=/bin"))
command("environment/repeated", ("/bin/env",), r"^A=", edit=environment("A=1", "B=2", "A=3", "PATH=/bin"))
command("environment/none", ("/bin/env",), r".", edit=environment())
command("environment/many-lines", ("/bin/env",), r"^second$", edit=environment("A=first\nsecond", "PATH=/bin", "HOME=/x"))
command("environment/program-by-path-of-container", ("echo", "found"), r"^found$", edit=environment("PATH=/nowhere:/bin"))
command("environment/home-of-root", ("sh", "-c", "echo $HOME"), r"^/")
script("environment/shell-variables", "echo $PWD $SHLVL $TERM.", r"^/ ")
script("environment/hostname", "hostname; cat /etc/hostname", r".")
script("environment/hostname-given", "hostname; uname -n; cat /proc/sys/kernel/hostname", r"^a-name-of-its-own$", edit=_hostname)
script("environment/domain", "cat /proc/sys/kernel/domainname", r"example\.test", edit=_domain)
script("environment/sysctls", "cat /proc/sys/kernel/shmmax /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/fs/mqueue/msg_max",
       r"^123456$", edit=_sysctl)
script("environment/time-zone", "date +%Z; ls /etc/localtime", r"UTC")
script("environment/machine", "uname -s; uname -m; uname -o", r"^Linux$")
script("environment/page-size", "awk '/^Hugepagesize|^MemTotal/ {print $1, $3}' /proc/meminfo; grep KernelPageSize /proc/self/smaps | sort -u", r"MemTotal: kB")
script("environment/files-of-etc", "ls /etc; cat /etc/resolv.conf", r"^passwd$")
execute("environment/exec", ("env",), r"^PATH=")
execute("environment/exec-sees-the-container's", ("env",), r"^WORD=of the container$", flags=("--env", "WORD=of the container"))
execute("environment/exec-directory", "pwd; echo $HOME", r"^/tmp$", exec_flags=("--cwd", "/tmp"))
