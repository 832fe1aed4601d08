// SPDX-License-Identifier: Apache-2.0
// Root file systems that are a file system of their own on the host (an image, a device of a snapshotter): the machine
// gets the disk and mounts it itself. The host's kernel reads nothing of what others have put on it, and the guest's
// works on blocks, without asking the host for each file. Blocking; pool threads.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "virtcontainers/container.h"
#include "virtcontainers/devices/container_disk.h"

namespace kata::virtcontainers {

// Whether `list`, which Create gives, is one such file system alone, of a type that the guest's kernel has. Anything
// else is for the host to mount (share/rootfs_mounts.h): nothing.
absl::StatusOr<std::optional<ContainerDisk>> FindRootfsDisk(const std::vector<RootfsMount>& list,
                                                            const std::string& mount_point);

}  // namespace kata::virtcontainers
