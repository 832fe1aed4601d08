// SPDX-License-Identifier: Apache-2.0
// The host's cgroup hierarchies: one of version 2, or one for each directory of version 1 and, on a hybrid host,
// version 2's beside them. Blocking; any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::virtcontainers {

inline constexpr char kCgroupRoot[] = "/sys/fs/cgroup";

struct CgroupHierarchy {
  std::string directory;  // where it is mounted
  bool is_version2 = false;
};
// Below `root`, usually kCgroupRoot. Empty where there is none.
std::vector<CgroupHierarchy> FindHierarchies(const std::string& root);

// A cgroup's path below each hierarchy, "a/b" of "/a//b/". InvalidArgument for one that leads out or names none.
absl::StatusOr<std::string> CheckCgroupPath(const std::string& path);

// Where process `pid` is in `hierarchy`, below it, as /proc/PID/cgroup's `text` has it: "a/b", empty for the top.
std::string FindOwnCgroup(const std::string& text, const CgroupHierarchy& hierarchy);

}  // namespace kata::virtcontainers
