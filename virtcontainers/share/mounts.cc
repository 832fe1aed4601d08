// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr int kStackedMountsMax = 64;  // mounts at one place, one above the other

absl::Status SetAttributes(int mount, unsigned flags, mount_attr attributes) {
  if (::mount_setattr(mount, "", AT_EMPTY_PATH | flags, &attributes, sizeof(attributes)) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, "setting a mount's attributes");
}

// Whether a path leads to this mount, and not to another on top of it or around it.
bool IsVisible(const MountEntry& mount) {
  struct statx info {};
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
  return ::statx(AT_FDCWD, mount.place.c_str(), kFlags, STATX_MNT_ID, &info) == 0 &&
         (info.stx_mask & STATX_MNT_ID) != 0 && info.stx_mnt_id == mount.id;
}

}  // namespace

absl::StatusOr<UniqueFd> CopyMount(const std::string& source, bool is_recursive) {
  const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (is_recursive ? unsigned{AT_RECURSIVE} : 0);
  UniqueFd mount(::open_tree(AT_FDCWD, source.c_str(), flags));
  if (!mount.valid()) return ErrnoStatus(errno, absl::StrCat("sharing \"", source, "\" with the guest"));
  return mount;
}

absl::StatusOr<UniqueFd> CopyMount(int place, bool is_recursive) {
  const unsigned flags =
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (is_recursive ? unsigned{AT_RECURSIVE} : 0);
  UniqueFd mount(::open_tree(place, "", flags));
  if (!mount.valid()) return ErrnoStatus(errno, "copying its mount");
  return mount;
}

absl::Status ProtectMount(int mount, const ExportOptions& options) {
  mount_attr all{};
  all.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (options.read_only == ReadOnly::kAll) all.attr_set |= MOUNT_ATTR_RDONLY;
  // Never shared with the source's place: what is mounted here does not reach back.
  all.propagation = options.is_private ? MS_PRIVATE : MS_SLAVE;
  RETURN_IF_ERROR(SetAttributes(mount, AT_RECURSIVE, all));
  if (options.read_only != ReadOnly::kTop) return absl::OkStatus();
  mount_attr top{};
  top.attr_set = MOUNT_ATTR_RDONLY;
  return SetAttributes(mount, 0, top);
}

absl::Status AttachMount(int mount, const std::string& target) {
  struct stat info {};
  if (::fstat(mount, &info) != 0) return ErrnoStatus(errno, "looking at a mount");
  if (S_ISDIR(info.st_mode)) {
    RETURN_IF_ERROR(MakeDirs(target, 0755));
  } else {
    RETURN_IF_ERROR(MakeDirs(target.substr(0, target.rfind('/')), 0755));
    UniqueFd file(::open(target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.valid()) return ErrnoStatus(errno, absl::StrCat("creating \"", target, "\""));
  }
  if (::move_mount(mount, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("mounting at \"", target, "\""));
}

absl::StatusOr<std::vector<std::string>> WritableMountsBelow(const std::string& place) {
  ASSIGN_OR_RETURN(std::vector<MountEntry> mounts, Mounts());
  std::sort(mounts.begin(), mounts.end(), [](const MountEntry& a, const MountEntry& b) { return a.place < b.place; });
  std::vector<std::string> out;
  for (const MountEntry& mount : mounts) {
    if (mount.is_read_only || !absl::StartsWith(mount.place, place + "/") || !IsVisible(mount)) continue;
    const std::string below = mount.place.substr(place.size() + 1);
    const bool is_led_to = std::any_of(
        out.begin(), out.end(), [&below](const std::string& other) { return absl::StartsWith(below, other + "/"); });
    if (!is_led_to) out.push_back(below);
  }
  return out;
}

absl::Status UnmountBelow(const std::string& directory) {
  for (int round = 0; round < kStackedMountsMax; ++round) {
    ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, Mounts());
    std::vector<std::string> found;
    for (const MountEntry& mount : mounts) {
      if (mount.place == directory || absl::StartsWith(mount.place, directory + "/")) found.push_back(mount.place);
    }
    if (found.empty()) return absl::OkStatus();
    // The topmost only, with what is below them: a path that leads through a volume may lead elsewhere by now, since
    // the guest can rename the volume's directories. Later lines lie deeper or on top.
    for (auto place = found.rbegin(); place != found.rend(); ++place) {
      const bool is_below = std::any_of(
          found.begin(), found.end(), [&](const std::string& other) { return absl::StartsWith(*place, other + "/"); });
      if (is_below) continue;
      // Lazily only what is in use, for example by a guest that holds a file of it.
      if (::umount2(place->c_str(), UMOUNT_NOFOLLOW) != 0 && errno == EBUSY) {
        ::umount2(place->c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
      }
    }
  }
  return absl::InternalError(absl::StrCat("unmounting below \"", directory, "\": mounts are left"));
}

}  // namespace kata::virtcontainers
