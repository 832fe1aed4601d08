// SPDX-License-Identifier: Apache-2.0
// Who waits for which child. Reap collects every dead child, also orphans that were reparented to
// PID 1. An exit cannot be lost before Register: the kernel keeps the zombie until Reap runs, and a
// clone and its Register stand in one stretch of code without a suspension. Io thread only.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>

#include "proto/base/coro.h"

namespace kata::agent {

// 0-255; 128 + signal for a process that a signal ended.
int ExitStatusOf(int wait_status);

class ExitTable {
 public:
  using Callback = std::function<void(int exit_status)>;
  // Calls `callback` once, when `pid` has been reaped.
  void Register(pid_t pid, Callback callback);
  // Takes all exits there are, without waiting. The number taken.
  int Reap();
  // Reaps at every SIGCHLD, for ever. Ends with an error only.
  Co<absl::Status> Run();

 private:
  std::map<pid_t, Callback> callbacks_;
};

}  // namespace kata::agent
