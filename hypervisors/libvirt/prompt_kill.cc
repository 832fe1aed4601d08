// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/prompt_kill.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "proto/base/fd.h"

namespace kata::hypervisors {

bool CollectEnded(int pidfd) {
  siginfo_t info{};
  return ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0;
}

namespace {

int Kill(pid_t pid, int signal) { return static_cast<int>(::syscall(SYS_kill, pid, signal)); }

}  // namespace
}  // namespace kata::hypervisors

// Any thread; libvirt calls it on one of its own.
extern "C" int kill(pid_t pid, int signal) noexcept {
  using namespace kata::hypervisors;
  if (signal != SIGTERM || pid <= 0) return Kill(pid, signal);
  const kata::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (Kill(pid, signal) != 0) return -1;
  if (!pidfd.valid()) return 0;
  pollfd end{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  if (::poll(&end, 1, static_cast<int>(kLibvirtKillPoll.count())) <= 0) return 0;
  CollectEnded(pidfd.get());
  return Kill(pid, 0);
}
