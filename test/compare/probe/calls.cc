// SPDX-License-Identifier: Apache-2.0
// Which system calls a process may make.
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>

#include "test/compare/probe/probe.h"

namespace kata::probe {
namespace {

// Calls with arguments that do no harm: what matters is who refuses, and how.
void SystemCalls(const Arguments& names) {
  static const std::map<std::string, std::function<long()>> kCalls = {
      {"mount", [] { return syscall(SYS_mount, "none", "/tmp", "tmpfs", 0L, nullptr); }},
      {"umount", [] { return syscall(SYS_umount2, "/tmp", 0); }},
      {"pivot_root", [] { return syscall(SYS_pivot_root, "/tmp", "/tmp"); }},
      {"chroot", [] { return syscall(SYS_chroot, "/"); }},
      {"unshare-user", [] { return syscall(SYS_unshare, CLONE_NEWUSER); }},
      {"unshare-mount", [] { return syscall(SYS_unshare, CLONE_NEWNS); }},
      {"unshare-net", [] { return syscall(SYS_unshare, CLONE_NEWNET); }},
      {"unshare-files", [] { return syscall(SYS_unshare, CLONE_FILES); }},
      {"setns", [] { return syscall(SYS_setns, -1, 0); }},
      {"clone3", [] { return syscall(SYS_clone3, nullptr, 0L); }},
      {"clone-user",
       [] {
         const long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0L, 0L, 0L, 0L);
         if (child == 0) _exit(0);
         if (child > 0) waitpid(static_cast<pid_t>(child), nullptr, 0);
         return child;
       }},
      {"keyctl", [] { return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0); }},
      {"add_key", [] { return syscall(SYS_add_key, "user", "x", "x", 1L, KEY_SPEC_PROCESS_KEYRING); }},
      {"request_key", [] { return syscall(SYS_request_key, "user", "none-such", nullptr, 0); }},
      {"bpf", [] { return syscall(SYS_bpf, 0, nullptr, 0); }},
      {"perf_event_open", [] { return syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0L); }},
      {"userfaultfd", [] { return syscall(SYS_userfaultfd, 1 << 30); }},
      {"ptrace", [] { return syscall(SYS_ptrace, PTRACE_ATTACH, 999999, 0L, 0L); }},
      {"process_vm_readv", [] { return syscall(SYS_process_vm_readv, 999999, nullptr, 0L, nullptr, 0L, 0L); }},
      {"kcmp", [] { return syscall(SYS_kcmp, getpid(), getpid(), 99, 0L, 0L); }},
      {"reboot", [] { return syscall(SYS_reboot, 0, 0, 0, nullptr); }},
      {"kexec_load", [] { return syscall(SYS_kexec_load, 0L, 0L, nullptr, 0xffffL); }},
      {"init_module", [] { return syscall(SYS_init_module, nullptr, 0L, ""); }},
      {"delete_module", [] { return syscall(SYS_delete_module, "none-such", O_NONBLOCK); }},
      {"swapon", [] { return syscall(SYS_swapon, "/none-such", 0); }},
      {"acct", [] { return syscall(SYS_acct, "/none-such"); }},
      {"quotactl", [] { return syscall(SYS_quotactl, 0, "/none-such", 0, nullptr); }},
      {"sethostname", [] { return syscall(SYS_sethostname, "x", 1L); }},
      {"settimeofday", [] { return syscall(SYS_settimeofday, nullptr, nullptr); }},
      {"clock_settime", [] { return syscall(SYS_clock_settime, CLOCK_REALTIME, nullptr); }},
      {"adjtimex", [] { return syscall(SYS_adjtimex, nullptr); }},
      {"iopl", [] { return syscall(SYS_iopl, 3); }},
      {"ioperm", [] { return syscall(SYS_ioperm, 0L, 1L, 1); }},
      {"syslog", [] { return syscall(SYS_syslog, 10, nullptr, 0); }},
      {"syslog-read",
       [] {
         char text[16];
         return syscall(SYS_syslog, 3, text, 0);
       }},
      {"personality", [] { return syscall(SYS_personality, ADDR_NO_RANDOMIZE); }},
      {"personality-linux", [] { return syscall(SYS_personality, 0L); }},
      {"open_by_handle_at", [] { return syscall(SYS_open_by_handle_at, -1, nullptr, 0); }},
      {"name_to_handle_at", [] { return syscall(SYS_name_to_handle_at, -1, "", nullptr, nullptr, 0); }},
      {"fanotify_init", [] { return syscall(SYS_fanotify_init, 0, 0); }},
      {"lookup_dcookie", [] { return syscall(SYS_lookup_dcookie, 0L, nullptr, 0L); }},
      {"move_pages", [] { return syscall(SYS_move_pages, 0, 0L, nullptr, nullptr, nullptr, 0); }},
      {"mbind", [] { return syscall(SYS_mbind, nullptr, 0L, 0, nullptr, 0L, 0); }},
      {"get_mempolicy", [] { return syscall(SYS_get_mempolicy, nullptr, nullptr, 0L, nullptr, 0L); }},
      {"io_uring_setup", [] { return syscall(SYS_io_uring_setup, 0, nullptr); }},
      {"pidfd_getfd", [] { return syscall(SYS_pidfd_getfd, -1, 0, 0); }},
      {"pidfd_open", [] { return syscall(SYS_pidfd_open, getpid(), 0); }},
      {"process_madvise", [] { return syscall(SYS_process_madvise, -1, nullptr, 0L, 0, 0); }},
      {"memfd_create", [] { return syscall(SYS_memfd_create, "x", 0); }},
      {"memfd_secret", [] { return syscall(447, 0xffff); }},
      {"openat2", [] { return syscall(SYS_openat2, -1, nullptr, nullptr, 0L); }},
      {"faccessat2", [] { return syscall(SYS_faccessat2, -1, "x", 0, 0); }},
      {"close_range", [] { return syscall(SYS_close_range, 1000, 999, 0); }},
      {"epoll_pwait2", [] { return syscall(SYS_epoll_pwait2, -1, nullptr, 0, nullptr, nullptr, 0L); }},
      {"statx", [] { return syscall(SYS_statx, -1, "x", 0, 0, nullptr); }},
      {"rseq", [] { return syscall(SYS_rseq, nullptr, 0, 0, 0); }},
      {"fsopen", [] { return syscall(SYS_fsopen, nullptr, 0); }},
      {"open_tree", [] { return syscall(SYS_open_tree, -1, "x", 0); }},
      {"move_mount", [] { return syscall(SYS_move_mount, -1, "x", -1, "x", 0); }},
      {"mount_setattr", [] { return syscall(442, -1, "x", 0, nullptr, 0L); }},
      {"landlock_create_ruleset", [] { return syscall(444, nullptr, 0L, 8); }},
      {"fchmodat2", [] { return syscall(452, -1, "x", 0, 0); }},
      {"beyond-all", [] { return syscall(1000, 0, 0, 0); }},
      {"vhangup", [] { return syscall(SYS_vhangup); }},
      {"nfsservctl", [] { return syscall(SYS_nfsservctl, 0); }},
      {"uselib", [] { return syscall(SYS_uselib, nullptr); }},
      {"ustat", [] { return syscall(SYS_ustat, 0, nullptr); }},
      {"sysfs", [] { return syscall(SYS_sysfs, 99, 0L, 0L); }},
      {"modify_ldt", [] { return syscall(SYS_modify_ldt, 0, nullptr, 0L); }},
      {"arch_prctl", [] { return syscall(SYS_arch_prctl, 0, 0L); }},
      {"sched_setscheduler-fifo",
       [] {
         sched_param p{1};
         return syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &p);
       }},
      {"setpriority-up", [] { return syscall(SYS_setpriority, PRIO_PROCESS, 0, -5); }},
      {"setpriority-down", [] { return syscall(SYS_setpriority, PRIO_PROCESS, 0, 5); }},
      {"setdomainname", [] { return syscall(SYS_setdomainname, "x", 1L); }},
      {"mlock",
       [] {
         static char page[4096];
         return syscall(SYS_mlock, page, sizeof page);
       }},
      {"setuid", [] { return syscall(SYS_setuid, getuid()); }},
      {"setgroups", [] { return syscall(SYS_setgroups, 0L, nullptr); }},
      {"raise-nofile",
       [] {
         rlimit limit{};
         getrlimit(RLIMIT_NOFILE, &limit);
         limit.rlim_max += 1;
         return static_cast<long>(setrlimit(RLIMIT_NOFILE, &limit));
       }},
      {"oom-score-down",
       [] {
         const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
         return fd < 0 ? -1L : static_cast<long>(write(fd, "-900", 4));
       }},
      {"oom-score-up",
       [] {
         const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
         return fd < 0 ? -1L : static_cast<long>(write(fd, "900", 3));
       }},
  };
  for (const std::string& name : names) {
    const auto call = kCalls.find(name);
    if (call == kCalls.end()) {
      Say(name, "unknown to the probe");
      continue;
    }
    // In a child: some of the calls change the process for good.
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      errno = 0;
      const long result = call->second();
      Say(name, Outcome(result));
      fflush(stdout);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) Say(name, "killed by " + std::to_string(WTERMSIG(status)));
  }
}

}  // namespace

Subjects CallSubjects() { return {{"calls", SystemCalls}}; }

}  // namespace kata::probe
