// SPDX-License-Identifier: Apache-2.0
// Copies what a directory of the image holds into the tmpfs mounted over it (option "tmpcopyup").
// Runs in the container's child, before pivot_root.
#pragma once

#include <cstddef>
#include <cstdint>

#include <absl/status/status.h>

namespace kata::agent {

// The tmpfs is the guest's memory, and the image is not ours.
struct CopyUpLimits {
  uint64_t bytes = 1ull << 30;
  size_t entries = 65536;
  int depth = 64;  // each level holds two descriptors
};

// From one open directory to another. Links are copied as links, never followed; sockets are left
// out. ResourceExhausted when a limit is passed.
absl::Status CopyUp(int from, int to, CopyUpLimits limits);

}  // namespace kata::agent
