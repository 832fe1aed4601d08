// SPDX-License-Identifier: Apache-2.0
// Idmapped mounts, made on the host: what the disk says belongs to one id shows as another's, to the guest as well.
// Blocking; pool threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/status.h>

namespace kata::virtcontainers {

// As the kernel: lines of one uid_map.
inline constexpr size_t kIdMappingsMax = 340;

// `size` ids from `container` on, on the disk, show as those from `host` on.
struct IdMapping {
  uint32_t container = 0;
  uint32_t host = 0;
  uint32_t size = 0;
};

struct IdMap {
  std::vector<IdMapping> uids, gids;
  bool is_recursive = false;
  bool empty() const { return uids.empty() && gids.empty(); }
};

// Maps the ids of `mount`, a copy that is attached nowhere yet (open_tree). FailedPrecondition where the host's kernel
// cannot idmap that file system.
absl::Status IdmapMount(int mount, const IdMap& map);

}  // namespace kata::virtcontainers
