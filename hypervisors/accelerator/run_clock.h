// SPDX-License-Identifier: Apache-2.0
// Time as a process had it: what passes while the thread that waited most was ready and had no CPU does not count. For
// limits on a process that may be slow on a busy host, but must not stand still. Reads /proc, does not block; any
// thread.
#pragma once

#include <sys/types.h>

#include <chrono>

namespace kata::hypervisors {

class RunClock {
 public:
  explicit RunClock(pid_t pid);
  // Since the construction. Plain time where the kernel keeps no such account, or the process is gone.
  std::chrono::nanoseconds Elapsed() const;

 private:
  pid_t pid_;
  std::chrono::steady_clock::time_point begin_;
  std::chrono::nanoseconds waited_;  // before the construction
};

}  // namespace kata::hypervisors
