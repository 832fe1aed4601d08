// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/shared_volumes.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <utility>

#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/share/shared_directory.h"

namespace kata::virtcontainers {
namespace {

// Beside the containers' directories, none of which begins with a dot.
constexpr char kDirectory[] = ".volumes";

}  // namespace

SharedVolumes::Volume* SharedVolumes::Find(const Source& source, ReadOnly read_only) {
  Volume* same = nullptr;
  for (auto& [number, volume] : volumes_) {
    if (volume.source != source) continue;
    if (volume.read_only == ReadOnly::kNo) return &volume;
    if (volume.read_only == read_only) same = &volume;
  }
  return same;
}

absl::StatusOr<VolumePlace> SharedVolumes::Add(const std::string& container_id, const std::string& source_path,
                                               const ExportOptions& options) {
  const std::string what = absl::StrCat("sharing \"", source_path, "\" with the guest");
  // Looked up once: what is compared is what is mounted.
  const UniqueFd found(::open_tree(AT_FDCWD, source_path.c_str(), OPEN_TREE_CLOEXEC));
  struct statx info {};
  if (!found.valid() || ::statx(found.get(), "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &info) != 0)
    return ErrnoStatus(errno, what);
  const Source source{.mount = info.stx_mnt_id,
                      .device = makedev(info.stx_dev_major, info.stx_dev_minor),
                      .inode = info.stx_ino,
                      .is_recursive = options.is_recursive,
                      .is_private = options.is_private};
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Volume* const there = Find(source, options.read_only); there != nullptr) {
    there->containers.insert(container_id);
    return there->place;
  }
  auto tree = CopyMount(found.get(), options.is_recursive);
  if (!tree.ok()) return Annotate(tree.status(), what);
  RETURN_IF_ERROR(Annotate(ProtectMount(tree->get(), options), what));
  const uint64_t number = next_++;
  Volume volume;
  volume.source = source;
  volume.read_only = options.read_only;
  volume.place.host = absl::StrCat(ContainerHostPath(sandbox_id_, kDirectory), "/", number);
  volume.place.guest = absl::StrCat(ContainerGuestPath(kDirectory), "/", number);
  volume.containers.insert(container_id);
  RETURN_IF_ERROR(share_->Run([&tree, &volume] { return AttachMount(tree->get(), volume.place.host); }));
  VolumePlace place = volume.place;
  volumes_.emplace(number, std::move(volume));
  return place;
}

absl::Status SharedVolumes::Release(const std::string& container_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::set<std::string> left;
  for (auto entry = volumes_.begin(); entry != volumes_.end();) {
    Volume& volume = entry->second;
    const bool is_last = volume.containers.erase(container_id) != 0 && volume.containers.empty();
    if (is_last) left.insert(volume.place.host);
    entry = is_last ? volumes_.erase(entry) : std::next(entry);
  }
  if (left.empty()) return absl::OkStatus();
  return share_->Run([&left]() -> absl::Status {
    absl::Status status;
    for (const std::string& path : left) {
      status.Update(UnmountBelow(path));
      status.Update(RemoveTree(path));
    }
    return status;
  });
}

}  // namespace kata::virtcontainers
