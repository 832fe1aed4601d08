// SPDX-License-Identifier: Apache-2.0
// The disks of one container, opened and added to its mounts. Blocking; pool threads.
#pragma once

#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "virtcontainers/container/container_mounts.h"
#include "virtcontainers/oci/document.h"

namespace kata::virtcontainers {

// What of its root file system is a disk.
enum class RootfsDisk {
  kNone,
  kWrites,  // what the container changes; it is shared read-only
  kWhole,   // nothing of it is in the share
};

// With kWhole and kWrites `guest_spec` has its path.
absl::StatusOr<RootfsDisk> TakeRootfsDisk(const OciDocument& document, ContainerMounts& mounts);
// The path of the guest of a volume that is a disk of the machine (devices/direct_volume.h); nothing for any other.
absl::StatusOr<std::optional<std::string>> TakeDirectVolume(const std::string& source, ContainerMounts& mounts);
// The block devices that it was given by name.
absl::Status TakeBlockDevices(const OciDocument& document, ContainerMounts& mounts);

}  // namespace kata::virtcontainers
