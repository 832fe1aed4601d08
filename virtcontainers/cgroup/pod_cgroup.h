// SPDX-License-Identifier: Apache-2.0
// The pod's cgroup on the host, `linux.cgroupsPath` of its sandbox: what its machine uses is counted and limited where
// the caller looks for the pod. Blocking; any thread, one call at a time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "virtcontainers/cgroup/hierarchies.h"

namespace kata::virtcontainers {

inline constexpr uint64_t kNoMemoryLimit = UINT64_MAX;

class PodCgroup {
 public:
  // Makes what is missing of `path` in each hierarchy below `root`. `record`, a file, says so beforehand, for
  // RemoveRecordedCgroup. No limit is set: the caller's own, above it, hold. `origin`: this process's
  // /proc/self/cgroup, read before it was moved anywhere.
  static absl::StatusOr<std::shared_ptr<PodCgroup>> Make(const std::string& root, const std::string& path,
                                                         const std::string& record, const std::string& origin);

  // Moves a process with all its threads into it, in each hierarchy. OK for one that is in it already.
  absl::Status Add(pid_t pid) const;
  // One thread alone, where the hierarchy is of version 1.
  absl::Status AddThread(pid_t tid) const;
  // The least memory limit of it and of those above it, in bytes; kNoMemoryLimit without one.
  uint64_t MemoryLimit() const;
  // How many of its processes the kernel has killed for want of memory.
  uint64_t OomKills() const;
  // Moves this process and its children back to where this process came from.
  void LetGo() const;
  // LetGo, then removes the cgroup. One with others' processes stays. Idempotent.
  absl::Status Remove() const;

 private:
  struct Place {
    CgroupHierarchy hierarchy;
    std::string origin;  // of this process, a directory
  };
  PodCgroup(std::string path, std::vector<Place> places) : path_(std::move(path)), places_(std::move(places)) {}

  std::string path_;
  std::vector<Place> places_;
};

// For the shim's `delete` action: what a killed shim's Make has left. The processes in it have been killed.
absl::Status RemoveRecordedCgroup(const std::string& root, const std::string& record);

}  // namespace kata::virtcontainers
