// SPDX-License-Identifier: Apache-2.0
// Kernel parameters of a container, and whether what lies at /proc is the kernel's at all: a volume
// may be mounted there.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include <absl/status/status.h>

namespace kata::agent {

bool IsProcfs(int fd);
absl::Status NotProcfs(const std::string& what);

// Of the calling process's namespaces.
absl::Status WriteSysctl(const std::string& key, const std::string& value);

// As the agent's root, in the ipc, uts and network namespaces of the process `pidfd`, whose user
// namespace may not. What belongs to its root alone is written as `root`, that root's id outside.
absl::Status WriteSysctlsFor(int pidfd, const std::map<std::string, std::string>& sysctls, uid_t root);

}  // namespace kata::agent
