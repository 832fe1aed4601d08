// SPDX-License-Identifier: Apache-2.0
// User, groups, capabilities and limits of a process. The first are set on the calling process in
// two steps: DropToUser keeps the permitted set so that a seccomp filter can still be loaded,
// ApplyCapabilities gives up the rest. Single-threaded child only, but for the first two functions.
#pragma once

#include <absl/status/status.h>

#include "agent/oci/spec.h"

namespace kata::agent {

// Of another process, once it is set up: they are the program's, not the set-up's.
absl::Status SetRlimits(pid_t pid, const ProcessSpec& spec);
// Of another process, which may lower its score no further, whatever rights it has where it is.
absl::Status SetOomScore(pid_t pid, const ProcessSpec& spec);
// Bounding set, groups, ids, umask. Afterwards the effective set is the process's final one.
absl::Status DropToUser(const ProcessSpec& spec);
// Makes all that is still permitted effective.
absl::Status RaisePermitted();
absl::Status ApplyCapabilities(const ProcessSpec& spec);
// The same, and what it takes to load a filter.
absl::Status ApplyCapabilitiesAndSysAdmin(const ProcessSpec& spec);

}  // namespace kata::agent
