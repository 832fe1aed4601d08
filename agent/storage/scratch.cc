// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/scratch.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"
#include "proto/base/fd.h"
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

// Volatile: nobody needs what is on the disk later, so that nothing waits for it.
absl::Status MountOverlay(const v1::Storage& storage, const std::string& disk_point) {
  const std::string upper = disk_point + "/upper";
  const std::string work = disk_point + "/work";
  RETURN_IF_ERROR(MakeUpper(storage.lower(), upper));
  RETURN_IF_ERROR(MakeDirs(work, 0700));
  RETURN_IF_ERROR(MakeDirs(storage.mount_point(), 0755));
  const std::string data =
      absl::StrCat("lowerdir=", storage.lower(), ",upperdir=", upper, ",workdir=", work, ",volatile");
  if (::mount("overlay", storage.mount_point().c_str(), "overlay", 0, data.c_str()) == 0) return absl::OkStatus();
  return SystemError(errno, absl::StrCat("mounting an overlay at \"", storage.mount_point(), "\""));
}

}  // namespace

std::string ScratchDiskPoint(const v1::Storage& storage) { return storage.mount_point() + ".disk"; }

absl::Status MountScratch(const v1::Storage& storage, const std::string& disk) {
  if (!absl::StartsWith(storage.lower(), "/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("storage at \"", storage.mount_point(), "\": its lower directory is not absolute"));
  }
  const std::string disk_point = ScratchDiskPoint(storage);
  RETURN_IF_ERROR(MakeDirs(disk_point, 0700));
  if (::mount(disk.c_str(), disk_point.c_str(), storage.fstype().c_str(), 0, nullptr) != 0) {
    return SystemError(
        errno, absl::StrCat("mounting ", storage.fstype(), " \"", storage.source(), "\" at \"", disk_point, "\""));
  }
  const absl::Status status = MountOverlay(storage, disk_point);
  if (!status.ok()) ::umount2(disk_point.c_str(), UMOUNT_NOFOLLOW);
  return status;
}

}  // namespace kata::agent
