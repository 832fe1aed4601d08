// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/container_disk.h"

#include <algorithm>

#include <absl/strings/str_cat.h>

namespace kata::virtcontainers {

std::string DiskMountPoint(const std::string& container_id, size_t index) {
  return absl::StrCat("/run/kata-containers/disks/", container_id, ".", index);
}

bool HasKeptDisks(const std::vector<ContainerDisk>& disks) {
  return std::any_of(disks.begin(), disks.end(), [](const ContainerDisk& disk) {
    return !std::holds_alternative<ScratchDisk>(disk.use) && !std::holds_alternative<LayerDisk>(disk.use);
  });
}

}  // namespace kata::virtcontainers
