// SPDX-License-Identifier: Apache-2.0
// User namespaces of containers. Ids of the host and of the guest are the same: what the rootfs and the volumes say
// is what the guest sees, so that the spec's mappings count in the guest as they stand.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::agent {

// As the kernel: lines of one uid_map.
inline constexpr size_t kIdMappingsMax = 340;

struct IdMapping {
  uint32_t container = 0;
  uint32_t host = 0;
  uint32_t size = 0;
};
using IdMappings = std::vector<IdMapping>;

// Outside of the namespace; nothing for an id that is not mapped.
std::optional<uint32_t> MapId(const IdMappings& mappings, uint32_t id);
// InvalidArgument that names `field` when they are too many, or leave out the container's root.
absl::Status CheckMappings(const IdMappings& mappings, const char* field);

// Of the agent, about a child that has a new user namespace and does nothing yet.
absl::Status WriteMappings(pid_t pid, const IdMappings& uids, const IdMappings& gids);
// Of the child, in its namespace: from the agent's root, which has no name there, to the container's.
absl::Status BecomeNamespaceRoot();

// The container's root may make groups below the cgroup of its container, as the kernel's list of delegated files has
// it.
absl::Status DelegateCgroup(const std::string& path, uid_t uid, gid_t gid);

}  // namespace kata::agent
