// SPDX-License-Identifier: Apache-2.0
// Mount option words as the OCI spec and mount(8) write them, split into flags, propagation and
// file system data. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kata::agent {

struct MountOptions {
  unsigned long flags = 0;    // MS_RDONLY, MS_NOSUID, …; for a bind these need a remount
  unsigned long cleared = 0;  // flags that an option takes away ("rw", "suid", …)
  std::vector<unsigned long> propagation;  // MS_PRIVATE | MS_REC and so on, in order
  // MOUNT_ATTR_* for the mount and all below it ("rro", "rnoexec", "rrw", …).
  uint64_t recursive_set = 0;
  uint64_t recursive_cleared = 0;
  bool is_bind = false;
  bool is_recursive_bind = false;
  bool copies_up = false;  // "tmpcopyup": a tmpfs starts with the content it covers
  std::string data;        // what remains, comma separated
};

MountOptions ParseMountOptions(const std::vector<std::string>& options);

}  // namespace kata::agent
