// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/container_disks.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "proto/base/log.h"
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
  const auto layers = std::count_if(mounts.disks.begin(), mounts.disks.end(), [](const ContainerDisk& disk) {
    return std::holds_alternative<LayerDisk>(disk.use);
  });
  if (mounts.disks.size() < kContainerDisksMax + static_cast<size_t>(layers)) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("a container has at most ", kContainerDisksMax, " disks"));
}

std::string NextMountPoint(const ContainerMounts& mounts) {
  return DiskMountPoint(mounts.options.id, mounts.disks.size());
}

bool IsWritten(const OciDocument& document) {
  const nlohmann::json& read_only = MemberOf(MemberOf(document.json(), "root"), "readonly");
  return !read_only.is_boolean() || !read_only.get<bool>();
}

absl::StatusOr<ContainerDisk> MakeDiskForWrites(const ContainerMounts& mounts) {
  ContainerDisk disk;
  disk.source = "the disk for its writes";
  ASSIGN_OR_RETURN(disk.file, MakeScratchDisk(mounts.scratch_directory, mounts.scratch_mib));
  return disk;
}

// What it writes has to go to a disk too: a guest's overlay with its upper directory in the share would need that one's
// parent there (both its directories are one mount), in which a snapshotter keeps files that the host's root trusts.
bool CanHaveLayers(const ContainerMounts& mounts, bool is_written) {
  if (!mounts.layers.has_value()) return false;
  if (!is_written) return true;
  return mounts.layers->is_written && mounts.rootfs_writes != RootfsWrites::kShare;
}

absl::Status TakeLayers(bool is_written, ContainerMounts& mounts) {
  std::vector<ContainerDisk> disks;
  std::vector<std::string> mount_points;
  for (const std::string& image : mounts.layers->images) {
    ContainerDisk disk;
    disk.source = image;
    ASSIGN_OR_RETURN(disk.file, OpenDiskFile(image, /*is_read_only=*/true));
    mount_points.push_back(DiskMountPoint(mounts.options.id, mounts.disks.size() + disks.size()));
    disk.use = LayerDisk{mount_points.back()};
    disks.push_back(std::move(disk));
  }
  std::string whole = DiskMountPoint(mounts.options.id, mounts.disks.size() + disks.size());
  if (is_written) {
    ASSIGN_OR_RETURN(ContainerDisk writes, MakeDiskForWrites(mounts));
    writes.use = ScratchDisk{"", std::move(mount_points), whole};
    disks.push_back(std::move(writes));
  } else {
    // Its number is not given to another disk, which may have a mount point of that name.
    mounts.layered_rootfs = LayeredRootfs{std::move(mount_points), whole += "r"};
  }
  mounts.guest_spec = WithRootfsAt(mounts.guest_spec, whole);
  mounts.disks.insert(mounts.disks.end(), std::make_move_iterator(disks.begin()), std::make_move_iterator(disks.end()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RootfsDisk> TakeRootfsDisk(const OciDocument& document, ContainerMounts& mounts) {
  const bool is_written = IsWritten(document);
  if (CanHaveLayers(mounts, is_written)) {
    const absl::Status taken = TakeLayers(is_written, mounts);
    if (taken.ok()) return RootfsDisk::kWhole;
    if (mounts.rootfs_writes == RootfsWrites::kDisk) return taken;
    log::Warn("container \"{}\": the host puts the layers of its image together: {}", mounts.options.id,
              taken.message());
  }
  const std::string mount_point = NextMountPoint(mounts);
  std::optional<ContainerDisk> whole;
  if (mounts.uses_disks) {
    ASSIGN_OR_RETURN(whole, FindRootfsDisk(mounts.options.rootfs, mount_point));
  }
  if (!whole.has_value() && (mounts.rootfs_writes != RootfsWrites::kDisk || !is_written)) return RootfsDisk::kNone;
  mounts.guest_spec = WithRootfsAt(mounts.guest_spec, mount_point);
  if (whole.has_value()) {
    mounts.disks.push_back(*std::move(whole));
    return RootfsDisk::kWhole;
  }
  ASSIGN_OR_RETURN(ContainerDisk disk, MakeDiskForWrites(mounts));
  disk.use = ScratchDisk{ContainerGuestPath(mounts.options.id) + "/rootfs", {}, mount_point};
  mounts.disks.push_back(std::move(disk));
  return RootfsDisk::kWrites;
}

absl::StatusOr<std::optional<std::string>> TakeDirectVolume(const std::string& source, ContainerMounts& mounts) {
  const std::string mount_point = NextMountPoint(mounts);
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
