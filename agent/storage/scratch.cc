// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/scratch.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"
#include "agent/storage/layers.h"
#include "proto/base/fd.h"
#include "proto/base/mount_options.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

// An overlay's root has its upper directory's attributes.
absl::Status MakeUpper(const std::string& lower, const std::string& upper) {
  struct stat info {};
  if (::stat(lower.c_str(), &info) != 0) return SystemError(errno, absl::StrCat("looking at \"", lower, "\""));
  if (::mkdir(upper.c_str(), 0700) != 0 || ::chown(upper.c_str(), info.st_uid, info.st_gid) != 0 ||
      ::chmod(upper.c_str(), info.st_mode & 07777) != 0) {
    return SystemError(errno, absl::StrCat("making \"", upper, "\""));
  }
  return absl::OkStatus();
}

// What the overlay has below, as its mount names it, and what has to be open for that.
struct Lower {
  std::string words;
  std::string top;
  std::vector<UniqueFd> layers;
};

absl::StatusOr<Lower> LowerOf(const v1::Storage& storage) {
  if (storage.layers_size() == 0) return Lower{storage.lower(), storage.lower(), {}};
  ASSIGN_OR_RETURN(std::vector<UniqueFd> open, OpenLayers({storage.layers().begin(), storage.layers().end()}));
  return Lower{WordsOfLayers(open), storage.layers(0), std::move(open)};
}

// Volatile: nobody needs what is on the disk later, so that nothing waits for it.
absl::Status MountOverlay(const v1::Storage& storage, const std::string& disk_point) {
  const std::string upper = disk_point + "/upper";
  const std::string work = disk_point + "/work";
  ASSIGN_OR_RETURN(const Lower lower, LowerOf(storage));
  RETURN_IF_ERROR(MakeUpper(lower.top, upper));
  RETURN_IF_ERROR(MakeDirs(work, 0700));
  RETURN_IF_ERROR(MakeDirs(storage.mount_point(), 0755));
  const std::string data = absl::StrCat("lowerdir=", lower.words, ",upperdir=", upper, ",workdir=", work, ",volatile");
  if (::mount("overlay", storage.mount_point().c_str(), "overlay", 0, data.c_str()) == 0) return absl::OkStatus();
  return SystemError(errno, absl::StrCat("mounting an overlay at \"", storage.mount_point(), "\""));
}

}  // namespace

std::string ScratchDiskPoint(const v1::Storage& storage) { return storage.mount_point() + ".disk"; }

absl::Status MountScratch(const v1::Storage& storage, const std::string& disk) {
  if (storage.layers_size() == 0 && !absl::StartsWith(storage.lower(), "/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("storage at \"", storage.mount_point(), "\": its lower directory is not absolute"));
  }
  const std::string disk_point = ScratchDiskPoint(storage);
  RETURN_IF_ERROR(MakeDirs(disk_point, 0700));
  const MountOptions options = ParseMountOptions({storage.options().begin(), storage.options().end()});
  const std::string data = options.Data();
  if (::mount(disk.c_str(), disk_point.c_str(), storage.fstype().c_str(), options.flags,
              data.empty() ? nullptr : data.c_str()) != 0) {
    return SystemError(
        errno, absl::StrCat("mounting ", storage.fstype(), " \"", storage.source(), "\" at \"", disk_point, "\""));
  }
  const absl::Status status = MountOverlay(storage, disk_point);
  if (!status.ok()) ::umount2(disk_point.c_str(), UMOUNT_NOFOLLOW);
  return status;
}

}  // namespace kata::agent
