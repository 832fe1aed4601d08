// SPDX-License-Identifier: Apache-2.0
// A disk of the host that a container has: mounted by the agent, or as a block device. Value types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "virtcontainers/storage/disk_file.h"

namespace kata::virtcontainers {

// Of one container, layers of its image aside.
inline constexpr size_t kContainerDisksMax = 64;

// Whose group the files of a volume get.
struct FsGroup {
  uint32_t gid = 0;
  bool is_always = true;  // also where the volume's root has it already
};

// What is on it, and where the agent mounts that.
struct MountedDisk {
  std::string type;  // of its file system
  std::vector<std::string> options;
  std::string mount_point;  // of the guest
  std::optional<FsGroup> fs_group;
};

// A layer of its image (devices/image_layers.h), mounted to be put together with the others.
struct LayerDisk {
  std::string mount_point;
};

// For what the container writes to its root file system, which is not written to itself.
struct ScratchDisk {
  std::string lower;                // the share's, of the guest; empty: it is `layers`
  std::vector<std::string> layers;  // mount points, the topmost first
  std::string mount_point;          // of all together
};

// An entry of linux.devices.
struct DiskNode {
  std::string path;    // in the container
  uint32_t major = 0;  // the host's number, in the spec
  uint32_t minor = 0;
};

struct ContainerDisk {
  std::string source;  // of the host, as a caller knows it
  DiskFile file;
  std::variant<MountedDisk, LayerDisk, ScratchDisk, DiskNode> use;
  std::string serial;  // by which the guest finds it; empty until it is plugged in
};

// Whether something of a container is written to disks that are kept.
bool HasKeptDisks(const std::vector<ContainerDisk>& disks);

// Where the agent mounts the disk number `index` of a container.
std::string DiskMountPoint(const std::string& container_id, size_t index);

}  // namespace kata::virtcontainers
