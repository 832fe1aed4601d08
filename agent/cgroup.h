// SPDX-License-Identifier: Apache-2.0
// One container's cgroup (version 2) below a parent directory. A limit that the spec does not set
// is not written. Io thread only; all calls are short writes to cgroupfs.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "agent/spec.h"
#include "proto/base/fd.h"

namespace kata::agent {

// Pids listed of one container, and directories below its cgroup that are visited.
inline constexpr size_t kCgroupPidsMax = 65536;
inline constexpr size_t kCgroupDirsMax = 4096;

class Cgroup {
 public:
  // Makes the directory, writes the limits and attaches the device program; nothing is left after
  // an error.
  static absl::StatusOr<Cgroup> Create(const std::string& parent, const std::string& name,
                                       const Resources& resources);
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  // Every process in it and below.
  absl::StatusOr<std::vector<pid_t>> Pids() const;
  absl::Status Kill() const;
  // FailedPrecondition while processes are left.
  absl::Status Remove();

 private:
  Cgroup() = default;
  std::string path_;
  UniqueFd fd_;
};

// Enables every available controller for the children of `directory`.
absl::Status EnableControllers(const std::string& directory);

}  // namespace kata::agent
