// SPDX-License-Identifier: Apache-2.0
// Mount option words as the OCI spec and mount(8) write them, split into flags, propagation and
// file system data. Pure; any thread.
#pragma once

#include <string>
#include <vector>

namespace kata::agent {

struct MountOptions {
  unsigned long flags = 0;    // MS_RDONLY, MS_NOSUID, …; for a bind these need a remount
  unsigned long cleared = 0;  // flags that an option takes away ("rw", "suid", …)
  std::vector<unsigned long> propagation;  // MS_PRIVATE | MS_REC and so on, in order
  bool is_bind = false;
  bool is_recursive_bind = false;
  std::string data;  // what remains, comma separated
};

MountOptions ParseMountOptions(const std::vector<std::string>& options);

}  // namespace kata::agent
