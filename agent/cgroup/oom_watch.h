// SPDX-License-Identifier: Apache-2.0
// Counts the processes of one cgroup, and of those below it, that the kernel has killed for want of
// memory. Lives as long as the container and its waiters. Io thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "agent/cgroup/file_watch.h"

namespace kata::agent {

class OomWatch : public std::enable_shared_from_this<OomWatch> {
 public:
  OomWatch(FileWatcher* watcher, const std::string& cgroup);
  // The count of now; after the cgroup's removal the last one seen.
  uint64_t Kills();
  // The count as soon as it is more than `seen`; NotFound once closed.
  Co<absl::StatusOr<uint64_t>> Wait(uint64_t seen);
  // The container is gone: releases the waiters.
  void Close();

 private:
  std::string path_;
  std::shared_ptr<FileWatch> watch_;
  uint64_t kills_ = 0;
  bool is_closed_ = false;
};

}  // namespace kata::agent
