// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/disk_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kUeventSizeMax = 4096;
constexpr char kDeviceName[] = "DEVNAME=";

bool HasRoom(int fd, const struct stat& info) {
  if (S_ISREG(info.st_mode)) return info.st_size > 0;
  uint64_t bytes = 0;
  return ::ioctl(fd, BLKGETSIZE64, &bytes) == 0 && bytes > 0;
}

}  // namespace

absl::StatusOr<DiskFile> OpenDiskFile(const std::string& path, bool is_read_only) {
  const std::string what = absl::StrCat("opening disk \"", path, "\"");
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, what);
  const bool is_device = S_ISBLK(info.st_mode);
  // Before it is opened: a fifo would wait for somebody.
  if (!is_device && !S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(what, ": neither a block device nor a file"));
  DiskFile out;
  out.is_read_only = is_read_only;
  const int mode = (is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
  const bool is_exclusive = is_device && !is_read_only;
  UniqueFd file(::open(path.c_str(), mode | (is_exclusive ? O_EXCL : 0)));
  if (!file.valid() && errno == EBUSY && is_exclusive) {
    out.is_claimed = false;
    file = UniqueFd(::open(path.c_str(), mode));
  }
  if (!file.valid()) return ErrnoStatus(errno, what);
  struct stat opened {};
  if (::fstat(file.get(), &opened) != 0) return ErrnoStatus(errno, what);
  if ((opened.st_mode & S_IFMT) != (info.st_mode & S_IFMT))
    return absl::InvalidArgumentError(absl::StrCat(what, ": it has become something else meanwhile"));
  if (!HasRoom(file.get(), opened)) return absl::InvalidArgumentError(absl::StrCat(what, ": it has no room at all"));
  out.file = std::make_shared<const UniqueFd>(std::move(file));
  return out;
}

absl::StatusOr<std::string> FindBlockDevice(uint32_t major, uint32_t minor) {
  const std::string number = absl::StrCat(major, ":", minor);
  const std::string what = absl::StrCat("finding block device ", number);
  auto text = ReadFile(absl::StrCat("/sys/dev/block/", number, "/uevent"), kUeventSizeMax);
  if (!text.ok()) return absl::NotFoundError(absl::StrCat(what, ": the host has none"));
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (!absl::ConsumePrefix(&line, kDeviceName)) continue;
    const std::string path = absl::StrCat("/dev/", line);
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode) && info.st_rdev == makedev(major, minor)) return path;
    return absl::NotFoundError(absl::StrCat(what, ": \"", path, "\" is not it"));
  }
  return absl::NotFoundError(absl::StrCat(what, ": it has no name"));
}

}  // namespace kata::virtcontainers
