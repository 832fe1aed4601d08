// SPDX-License-Identifier: Apache-2.0
// Idmapped mounts, made on the host: what the disk says belongs to one id shows as another's, to the guest as well.
// Blocking; pool threads.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "virtcontainers/id_mapping.h"

namespace kata::virtcontainers {

// As the kernel: lines of one uid_map.
inline constexpr size_t kIdMappingsMax = 340;

struct IdMap {
  std::vector<IdMapping> uids, gids;
  bool is_recursive = false;
  bool empty() const { return uids.empty() && gids.empty(); }
};

// Maps the ids of `mount`, a copy that is attached nowhere yet (open_tree). FailedPrecondition where the host's kernel
// cannot idmap that file system.
absl::Status IdmapMount(int mount, const IdMap& map);

}  // namespace kata::virtcontainers
