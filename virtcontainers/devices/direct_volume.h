// SPDX-License-Identifier: Apache-2.0
// Volumes that are assigned to the machine itself: a storage plugin has not mounted one at the volume's path on the
// host, but said in a file beside what disk it is and what is on it, as with Kata Containers. The machine gets the disk
// and mounts it. Blocking; pool threads.
#pragma once

#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "virtcontainers/devices/container_disk.h"

namespace kata::virtcontainers {

// Of root alone; a directory of each volume, named by its path in URL's base64, has a mountInfo.json:
// {"volume-type": "block" or "directvol", "device": an absolute path, "fstype": …, "options": […],
//  "metadata": {"fsGroup": "1000", "fsGroupChangePolicy": "OnRootMismatch" or "Always"}}
inline constexpr char kDirectVolumes[] = "/run/kata-containers/shared/direct-volumes";

// The disk that the volume at `path` means, which the agent mounts at `mount_point`; nothing for any other path.
absl::StatusOr<std::optional<ContainerDisk>> FindDirectVolume(const std::string& path, const std::string& mount_point,
                                                              const std::string& volumes = kDirectVolumes);

}  // namespace kata::virtcontainers
