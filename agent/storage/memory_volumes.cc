// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/memory_volumes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <absl/strings/match.h>

#include "agent/base/errors.h"
#include "agent/base/paths.h"
#include "agent/storage/storage.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

bool IsMountPoint(const std::string& path) {
  struct stat info {
  }, above{};
  return ::stat(path.c_str(), &info) == 0 && ::stat(absl::StrCat(path, "/..").c_str(), &above) == 0 &&
         info.st_dev != above.st_dev;
}

absl::Status MakeDirectory(int volume, const v1::VolumeDirectory& directory) {
  const std::string& path = directory.path();
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const std::string what = absl::StrCat("making \"", path, "\" in a memory volume");
  if (name.empty() || name == "." || name == "..") return absl::InvalidArgumentError(absl::StrCat(what, ": bad name"));
  auto parent_fd = OpenBeneath(volume, parent, O_PATH | O_DIRECTORY);
  if (!parent_fd.ok()) return Annotate(parent_fd.status(), what);
  if (::mkdirat(parent_fd->get(), name.c_str(), 0700) != 0)
    return errno == EEXIST ? absl::OkStatus() : SystemError(errno, what);
  // The owner first: a change of owner may take bits of the mode.
  if (::fchownat(parent_fd->get(), name.c_str(), directory.uid(), directory.gid(), AT_SYMLINK_NOFOLLOW) != 0)
    return SystemError(errno, what);
  auto made = OpenBeneath(parent_fd->get(), name, O_RDONLY | O_DIRECTORY);
  if (!made.ok()) return Annotate(made.status(), what);
  if (::fchmod(made->get(), directory.mode() & 07777u) != 0) return SystemError(errno, what);
  return absl::OkStatus();
}

absl::Status Prepare(const v1::MemoryVolume& volume) {
  const std::string& mount_point = volume.storage().mount_point();
  if (!absl::StartsWith(mount_point, absl::StrCat(kMemoryVolumes, "/")) || absl::StrContains(mount_point, "/..")) {
    return absl::InvalidArgumentError(absl::StrCat("memory volume at \"", mount_point, "\": not its place"));
  }
  if (!IsMountPoint(mount_point)) RETURN_IF_ERROR(MountStorage(volume.storage()));
  UniqueFd fd(::open(mount_point.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return SystemError(errno, absl::StrCat("opening \"", mount_point, "\""));
  for (const v1::VolumeDirectory& directory : volume.directories()) RETURN_IF_ERROR(MakeDirectory(fd.get(), directory));
  return absl::OkStatus();
}

}  // namespace

absl::Status PrepareMemoryVolumes(const v1::CreateContainerRequest& request) {
  if (request.memory_volumes_size() > kMemoryVolumesMax)
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kMemoryVolumesMax, " memory volumes"));
  for (const v1::MemoryVolume& volume : request.memory_volumes()) {
    if (volume.directories_size() > kVolumeDirectoriesMax)
      return absl::ResourceExhaustedError(
          absl::StrCat("more than ", kVolumeDirectoriesMax, " directories in a volume"));
    RETURN_IF_ERROR(Prepare(volume));
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
