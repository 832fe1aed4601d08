// SPDX-License-Identifier: Apache-2.0
// A line of a user namespace's map. Value type.
#pragma once

#include <cstdint>

namespace kata::virtcontainers {

// `size` ids from `container` on, on the disk or in the namespace, are those from `host` on.
struct IdMapping {
  uint32_t container = 0;
  uint32_t host = 0;
  uint32_t size = 0;
};

}  // namespace kata::virtcontainers
