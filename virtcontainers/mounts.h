// SPDX-License-Identifier: Apache-2.0
// Host mounts of a container: mount options as containerd writes them, and undoing. Blocking; pool
// threads.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>

#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

struct MountOptions {
  unsigned long flags = 0;        // MS_*
  unsigned long propagation = 0;  // MS_PRIVATE … with or without MS_REC; a second call
  std::string data;               // what the file system reads
};
MountOptions ParseMountOptions(const std::vector<std::string>& options);

// Mounts the list in order at `rootfs`; undone when one fails.
absl::Status MountRootfs(const std::string& rootfs, const std::vector<RootfsMount>& mounts);
// Binds `source` (directory or file) at `target`, which is created, with what is mounted below it.
absl::Status BindMount(const std::string& source, const std::string& target, bool is_read_only);
// Unmounts everything at and below `directory`, deepest first, lazily. OK when nothing is.
absl::Status UnmountBelow(const std::string& directory);

}  // namespace kata::virtcontainers
