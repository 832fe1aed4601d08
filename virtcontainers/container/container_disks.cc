// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/container_disks.h"

#include <utility>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "proto/base/status.h"
#include "virtcontainers/devices/direct_volume.h"
#include "virtcontainers/devices/rootfs_disk.h"
#include "virtcontainers/json/members.h"
#include "virtcontainers/oci/guest_disks.h"
#include "virtcontainers/share/shared_directory.h"
#include "virtcontainers/storage/scratch_disk.h"

namespace kata::virtcontainers {
namespace {

absl::Status CheckRoom(const ContainerMounts& mounts) {
  if (mounts.disks.size() < kContainerDisksMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("a container has at most ", kContainerDisksMax, " disks"));
}

}  // namespace

absl::StatusOr<RootfsDisk> TakeRootfsDisk(const OciDocument& document, ContainerMounts& mounts) {
  const std::string mount_point = DiskMountPoint(mounts.options.id, mounts.disks.size());
  std::optional<ContainerDisk> whole;
  if (mounts.uses_disks) {
    ASSIGN_OR_RETURN(whole, FindRootfsDisk(mounts.options.rootfs, mount_point));
  }
  const nlohmann::json& read_only = MemberOf(MemberOf(document.json(), "root"), "readonly");
  const bool is_written = !read_only.is_boolean() || !read_only.get<bool>();
  if (!whole.has_value() && (mounts.scratch_directory.empty() || !is_written)) return RootfsDisk::kNone;
  mounts.guest_spec = WithRootfsAt(mounts.guest_spec, mount_point);
  if (whole.has_value()) {
    mounts.disks.push_back(*std::move(whole));
    return RootfsDisk::kWhole;
  }
  ContainerDisk disk;
  disk.source = "the disk for its writes";
  ASSIGN_OR_RETURN(disk.file, MakeScratchDisk(mounts.scratch_directory, mounts.scratch_mib));
  disk.use = ScratchDisk{ContainerGuestPath(mounts.options.id) + "/rootfs", mount_point};
  mounts.disks.push_back(std::move(disk));
  return RootfsDisk::kWrites;
}

absl::StatusOr<std::optional<std::string>> TakeDirectVolume(const std::string& source, ContainerMounts& mounts) {
  const std::string mount_point = DiskMountPoint(mounts.options.id, mounts.disks.size());
  ASSIGN_OR_RETURN(std::optional<ContainerDisk> disk, FindDirectVolume(source, mount_point));
  if (!disk.has_value()) return std::nullopt;
  RETURN_IF_ERROR(Annotate(CheckRoom(mounts), absl::StrCat("direct volume \"", source, "\"")));
  mounts.disks.push_back(*std::move(disk));
  return mount_point;
}

absl::Status TakeBlockDevices(const OciDocument& document, ContainerMounts& mounts) {
  for (const DiskWish& wish : DisksOf(document)) {
    const std::string what = absl::StrCat("device \"", wish.node.path, "\"");
    RETURN_IF_ERROR(Annotate(CheckRoom(mounts), what));
    auto source = FindBlockDevice(wish.node.major, wish.node.minor);
    if (!source.ok()) return Annotate(source.status(), what);
    auto file = OpenDiskFile(*source, wish.is_read_only);
    if (!file.ok()) return Annotate(file.status(), what);
    ContainerDisk disk;
    disk.source = *source;
    disk.file = *std::move(file);
    disk.use = wish.node;
    mounts.disks.push_back(std::move(disk));
  }
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
