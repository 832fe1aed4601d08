// SPDX-License-Identifier: Apache-2.0
// A line of a user namespace's map. Value type.
#pragma once

#include <cstdint>
#include <vector>

namespace kata::virtcontainers {

// `size` ids from `container` on, on the disk or in the namespace, are those from `host` on.
struct IdMapping {
  uint32_t container = 0;
  uint32_t host = 0;
  uint32_t size = 0;
};

// As an idmapped mount with these lines shows an owner: nobody (65534) for one that none of them has. Without any, ids
// are as they are.
uint32_t MappedId(const std::vector<IdMapping>& mappings, uint32_t id);

}  // namespace kata::virtcontainers
