// SPDX-License-Identifier: Apache-2.0
// The cgroup that a caller wants the shim in (ShimCgroup of runc's options). Blocking; of `start`.
#pragma once

#include <sys/types.h>

#include <string>

#include <absl/status/status.h>

namespace kata::shimv2 {

// Moves `pid` into the cgroup `path` of each hierarchy below `root` (usually /sys/fs/cgroup) that has it, as runc's
// shim does: the one of version 2, or those of version 1. NotFound when none has it, InvalidArgument for a path that
// leads out.
absl::Status JoinShimCgroup(const std::string& root, const std::string& path, pid_t pid);

}  // namespace kata::shimv2
