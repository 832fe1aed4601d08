// SPDX-License-Identifier: Apache-2.0
// Freezes and thaws the processes of a cgroup (version 2). A frozen process can still be killed.
// Io thread only.
#pragma once

#include <chrono>
#include <string>

#include <absl/status/status.h>

#include "agent/cgroup/file_watch.h"

namespace kata::agent {

// A process that waits for a device in the kernel does not freeze before the device answers.
inline constexpr std::chrono::seconds kFreezeTimeout{10};

struct FreezeTarget {
  std::string cgroup;
  bool is_frozen = false;
  std::chrono::nanoseconds timeout = kFreezeTimeout;
};

// Returns when the kernel has done it. DeadlineExceeded after the time-out; a freeze is then taken
// back.
Co<absl::Status> SetFrozen(FileWatcher* watcher, FreezeTarget target);
// Asks for a thaw without waiting; errors do not matter to the caller.
void ThawSoon(const std::string& cgroup);

}  // namespace kata::agent
