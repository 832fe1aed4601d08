// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata {

UniqueFd OpenProcess(pid_t pid) { return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

int SignalProcess(int pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0 ? 0 : errno;
}

bool IsReadable(int fd, std::chrono::milliseconds wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  pollfd entry{fd, POLLIN, 0};
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    const int count = ::poll(&entry, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (count >= 0 || errno != EINTR) return count == 1;
  }
}

bool HasEnded(int pidfd, std::chrono::milliseconds wait) { return IsReadable(pidfd, wait); }

absl::Status KillProcess(int pidfd, absl::string_view what, std::chrono::milliseconds timeout) {
  const int error = SignalProcess(pidfd, SIGKILL);
  if (error != 0 && error != ESRCH) return ErrnoStatus(error, absl::StrCat("killing ", what));
  if (HasEnded(pidfd, timeout)) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat("ending ", what, ": it did not end after SIGKILL"));
}

}  // namespace kata
