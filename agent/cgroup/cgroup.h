// SPDX-License-Identifier: Apache-2.0
// One container's cgroup (version 2) below a parent directory. A limit that the spec does not set
// is not written. It lies in one of the container's own that it never sees, which bounds it by what
// it must leave to its neighbours. Io thread only: short reads and writes of cgroupfs; what may
// take long yields in between.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "agent/oci/spec.h"
#include "proto/base/coro.h"
#include "proto/base/fd.h"

namespace kata::agent {

// Pids listed of one container, and directories below its cgroup that there may be.
inline constexpr size_t kCgroupPidsMax = 65536;
inline constexpr size_t kCgroupDirsMax = 16384;
// Containers of one name at once: those of before that do not end.
inline constexpr int kCgroupNamesakesMax = 64;

class Cgroup {
 public:
  // Makes the directory, writes the limits and attaches the device program; nothing is left after
  // an error.
  static absl::StatusOr<Cgroup> Create(const std::string& parent, const std::string& name, const Resources& resources);
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  // As UpdateLimits.
  absl::Status Update(const Resources& resources) const;
  // After its parent's bounds have changed.
  absl::Status Rebound(const std::string& parent) const;
  absl::Status Kill() const;
  // FailedPrecondition while processes are left. The object may go meanwhile.
  Co<absl::Status> Remove() const;

 private:
  Cgroup() = default;
  std::string outer_;
  std::string path_;
  UniqueFd fd_;
};

// Every process in the cgroup `directory` and below.
Co<absl::StatusOr<std::vector<pid_t>>> PidsBelow(std::string directory);
// Removes the cgroup `directory` and all below. FailedPrecondition while processes are left.
Co<absl::Status> RemoveCgroups(std::string directory);
// Enables every available controller for the children of `directory`.
absl::Status EnableControllers(const std::string& directory);

}  // namespace kata::agent
