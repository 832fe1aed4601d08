// SPDX-License-Identifier: Apache-2.0
// What a process finds set for itself, and its terminal.
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "test/compare/probe/probe.h"

namespace kata::probe {
namespace {

void Rlimits(const Arguments&) {
  static const std::map<std::string, int> kLimits = {
      {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
      {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
      {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
      {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
      {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
      {"stack", RLIMIT_STACK}};
  auto text = [](rlim_t value) { return value == RLIM_INFINITY ? std::string("unlimited") : std::to_string(value); };
  for (const auto& [name, number] : kLimits) {
    rlimit limit{};
    getrlimit(static_cast<__rlimit_resource>(number), &limit);
    Say(name, text(limit.rlim_cur) + " " + text(limit.rlim_max));
  }
}

void Signals(const Arguments&) {
  sigset_t blocked;
  sigprocmask(SIG_SETMASK, nullptr, &blocked);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (sigismember(&blocked, number) == 1) Say("blocked", std::to_string(number));
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) {
      Say("ignored", std::to_string(number));
    }
  }
  sigset_t pending;
  sigpending(&pending);
  Say("pending", sigisemptyset(&pending) ? "none" : "some");
}

void Prctl(const Arguments&) {
  auto value = [](int option) { return Outcome(prctl(option, 0, 0, 0, 0), true); };
  Say("dumpable", value(PR_GET_DUMPABLE));
  Say("no new privileges", value(PR_GET_NO_NEW_PRIVS));
  Say("securebits", value(PR_GET_SECUREBITS));
  Say("keep capabilities", value(PR_GET_KEEPCAPS));
  Say("seccomp", value(PR_GET_SECCOMP));
  Say("timer slack", value(PR_GET_TIMERSLACK));
  Say("huge pages off", value(PR_GET_THP_DISABLE));
  int number = -1;
  prctl(PR_GET_CHILD_SUBREAPER, &number);
  Say("subreaper", std::to_string(number));
  prctl(PR_GET_PDEATHSIG, &number);
  Say("parent's death signal", std::to_string(number));
  prctl(PR_GET_TSC, &number);
  Say("time stamp counter", std::to_string(number));
}

void Descriptors(const Arguments&) {
  for (int fd = 0; fd < 4096; ++fd) {
    struct stat status {};
    if (fstat(fd, &status) != 0) continue;
    const int flags = fcntl(fd, F_GETFL);
    static const std::map<mode_t, std::string> kKinds = {{S_IFIFO, "pipe"},
                                                         {S_IFCHR, "character device"},
                                                         {S_IFREG, "file"},
                                                         {S_IFSOCK, "socket"},
                                                         {S_IFDIR, "directory"}};
    const auto kind = kKinds.find(status.st_mode & S_IFMT);
    std::string line = kind != kKinds.end() ? kind->second : "other";
    if (S_ISCHR(status.st_mode)) line += " " + ReadLink("/proc/self/fd/" + std::to_string(fd));
    const int mode = flags & O_ACCMODE;
    line += mode == O_RDONLY ? " read" : mode == O_WRONLY ? " write" : " read-write";
    if ((flags & O_NONBLOCK) != 0) line += " nonblock";
    if ((flags & O_APPEND) != 0) line += " append";
    if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0) line += " close-on-exec";
    Say(std::to_string(fd), line);
  }
}

void StdioOwner(const Arguments&) {
  for (int fd = 0; fd < 3; ++fd) {
    struct stat status {};
    fstat(fd, &status);
    Say(std::to_string(fd), "uid " + std::to_string(status.st_uid) + " gid " + std::to_string(status.st_gid) +
                                " mode " + std::to_string(status.st_mode & 0777));
  }
}

void Session(const Arguments&) {
  Say("leads its group", getpgrp() == getpid() ? "yes" : "no");
  Say("leads its session", getsid(0) == getpid() ? "yes" : "no");
  const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
  Say("/dev/tty", Outcome(terminal));
  if (terminal >= 0) Say("is in front", tcgetpgrp(terminal) == getpgrp() ? "yes" : "no");
}

void Scheduling(const Arguments&) {
  Say("policy", std::to_string(sched_getscheduler(0)));
  sched_param parameters{};
  sched_getparam(0, &parameters);
  Say("priority", std::to_string(parameters.sched_priority));
  errno = 0;
  Say("nice", std::to_string(getpriority(PRIO_PROCESS, 0)));
  Say("io priority", std::to_string(syscall(SYS_ioprio_get, 1, 0)));
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus);
  Say("may use all processors", CPU_COUNT(&cpus) == sysconf(_SC_NPROCESSORS_ONLN) ? "yes" : "no");
  Say("personality", std::to_string(personality(0xffffffff)));
}

void Ids(const Arguments&) {
  uid_t real = 0, effective = 0, saved = 0;
  getresuid(&real, &effective, &saved);
  Say("uid", std::to_string(real) + " " + std::to_string(effective) + " " + std::to_string(saved));
  getresgid(&real, &effective, &saved);
  Say("gid", std::to_string(real) + " " + std::to_string(effective) + " " + std::to_string(saved));
  std::vector<gid_t> groups(256);
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  std::string line;
  for (int i = 0; i < count; ++i) line += " " + std::to_string(groups[static_cast<size_t>(i)]);
  Say("groups", line);
  Say("secure start", std::to_string(getauxval(AT_SECURE)));
}

void Capabilities(const Arguments&) {
  FILE* status = fopen("/proc/self/status", "re");
  char line[256];
  while (status != nullptr && fgets(line, sizeof line, status) != nullptr) {
    if (strncmp(line, "Cap", 3) == 0 || strncmp(line, "NoNewPrivs", 10) == 0) fputs(line, stdout);
  }
}

void Keyring(const Arguments&) {
  const long serial = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
  Say("session keyring", Outcome(serial));
  char text[256] = {};
  Say("described", Outcome(syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text, sizeof text - 1)));
  Say("description", text);
  Say("adding a key", Outcome(syscall(SYS_add_key, "user", "probe", "x", 1, KEY_SPEC_SESSION_KEYRING)));
}

void Terminal(const Arguments&) {
  for (int fd = 0; fd < 3; ++fd) Say("terminal " + std::to_string(fd), isatty(fd) == 1 ? "yes" : "no");
  termios settings{};
  Say("tcgetattr", Outcome(tcgetattr(0, &settings)));
  char line[128];
  snprintf(line, sizeof line, "%o %o %o %o", settings.c_iflag, settings.c_oflag, settings.c_cflag, settings.c_lflag);
  Say("flags", line);
  std::string keys;
  for (const cc_t key : settings.c_cc) keys += " " + std::to_string(key);
  Say("keys", keys);
  Say("speed", std::to_string(cfgetospeed(&settings)));
  winsize size{};
  Say("TIOCGWINSZ", Outcome(ioctl(0, TIOCGWINSZ, &size)));
  Say("size", std::to_string(size.ws_row) + " " + std::to_string(size.ws_col));
  struct stat status {};
  fstat(0, &status);
  Say("owner", std::to_string(status.st_uid) + ":" + std::to_string(status.st_gid));
  snprintf(line, sizeof line, "%o", status.st_mode & 07777);
  Say("mode", line);
  Say("device", std::to_string(major(status.st_rdev)));
  Say("name", ReadLink("/proc/self/fd/0"));
}

void Wait(const Arguments&) {
  for (;;) pause();
}

// Counts the signals that arrive until SIGTERM: `probe count READY-FILE`.
volatile sig_atomic_t seen[NSIG];
void Count(const Arguments&) {
  for (int number = 1; number < NSIG; ++number) signal(number, [](int which) { seen[which] = seen[which] + 1; });
  puts("ready");
  fflush(stdout);
  while (seen[SIGTERM] == 0) pause();
  for (int number = 1; number < NSIG; ++number) {
    if (seen[number] > 0) Say("signal", std::to_string(number));
  }
}

}  // namespace

Subjects ProcessSubjects() {
  return {{"rlimits", Rlimits},
          {"signals", Signals},
          {"prctl", Prctl},
          {"descriptors", Descriptors},
          {"stdio-owner", StdioOwner},
          {"session", Session},
          {"scheduling", Scheduling},
          {"ids", Ids},
          {"capabilities", Capabilities},
          {"keyring", Keyring},
          {"terminal", Terminal},
          {"wait", Wait},
          {"count", Count}};
}

}  // namespace kata::probe
