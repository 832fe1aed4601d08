// SPDX-License-Identifier: Apache-2.0
// Processes by descriptor: a pid may be another process's the next moment, a pidfd never is. Any thread.
#pragma once

#include <sys/types.h>

#include <chrono>

#include <absl/status/status.h>
#include <absl/strings/string_view.h>

#include "proto/base/fd.h"

namespace kata {

// Not valid, with errno set, when there is no such process.
UniqueFd OpenProcess(pid_t pid);
// 0 or an errno; ESRCH when it has ended and was waited for.
int SignalProcess(int pidfd, int signal);
// True once it has ended, waited for or not; blocks for at most `wait`.
bool HasEnded(int pidfd, std::chrono::milliseconds wait);
// Whether `fd` has something to read, end of file included, within `wait`.
bool IsReadable(int fd, std::chrono::milliseconds wait);
// SIGKILL, and at most `timeout` for its end: it may sit in the kernel. `what` names the process in the error.
absl::Status KillProcess(int pidfd, absl::string_view what, std::chrono::milliseconds timeout);

}  // namespace kata
