// SPDX-License-Identifier: Apache-2.0
// User, groups, capabilities and limits of a process, set on the calling process in two steps:
// DropToUser keeps the permitted set so that a seccomp filter can still be loaded,
// ApplyCapabilities gives up the rest. Single-threaded child only.
#pragma once

#include <absl/status/status.h>

#include "agent/spec.h"

namespace kata::agent {

// Rlimits and oom_score_adj; needs /proc of the agent or the container.
absl::Status ApplyLimits(const ProcessSpec& spec);
// Bounding set, groups, ids, umask. Afterwards the effective set is the process's final one.
absl::Status DropToUser(const ProcessSpec& spec);
// Makes all that is still permitted effective.
absl::Status RaisePermitted();
absl::Status ApplyCapabilities(const ProcessSpec& spec);

}  // namespace kata::agent
