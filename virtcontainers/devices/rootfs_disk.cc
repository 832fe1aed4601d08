// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/rootfs_disk.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include <absl/strings/match.h>

#include "proto/base/mount_options.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

// Of the guest's kernel (configs/kernel/files.config).
constexpr const char* kTypes[] = {"ext2", "ext3", "ext4", "xfs", "erofs", "squashfs"};
constexpr const char* kReadOnlyTypes[] = {"erofs", "squashfs"};
// Of the host's loop devices.
constexpr const char* kHostWords[] = {"loop", "direct-io"};

template <typename List>
bool Has(const List& list, const std::string& word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

bool IsBlockDevice(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode);
}

// What only the host's way of mounting can do, or refuses by name.
bool IsForHost(const MountOptions& options) {
  return options.is_bind || (options.flags & MS_REMOUNT) != 0 || !options.propagation.empty() || options.maps_ids ||
         std::any_of(options.rest.begin(), options.rest.end(), [](const std::string& word) {
           return absl::StartsWith(word, "X-containerd.") || absl::StartsWith(word, "uidmap=") ||
                  absl::StartsWith(word, "gidmap=") || absl::StartsWith(word, "device=");
         });
}

}  // namespace

absl::StatusOr<std::optional<ContainerDisk>> FindRootfsDisk(const std::vector<RootfsMount>& list,
                                                            const std::string& mount_point) {
  if (list.size() != 1 || !list[0].target.empty() || !Has(kTypes, list[0].type)) return std::nullopt;
  const RootfsMount& mount = list[0];
  const MountOptions options = ParseMountOptions(mount.options);
  if (IsForHost(options)) return std::nullopt;
  if (!Has(options.rest, "loop") && !IsBlockDevice(mount.source)) return std::nullopt;
  MountedDisk mounted;
  mounted.type = mount.type;
  mounted.mount_point = mount_point;
  std::copy_if(mount.options.begin(), mount.options.end(), std::back_inserter(mounted.options),
               [](const std::string& word) { return !Has(kHostWords, word); });
  const bool is_read_only = (options.flags & MS_RDONLY) != 0 || Has(kReadOnlyTypes, mount.type);
  if (is_read_only && !Has(mounted.options, "ro")) mounted.options.push_back("ro");
  ContainerDisk disk;
  disk.source = mount.source;
  disk.use = std::move(mounted);
  auto file = OpenDiskFile(mount.source, is_read_only);
  if (!file.ok()) return Annotate(file.status(), "the rootfs");
  disk.file = *std::move(file);
  return disk;
}

}  // namespace kata::virtcontainers
