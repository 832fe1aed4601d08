// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/guest_own.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/strip.h>

namespace kata::virtcontainers {
namespace {

constexpr long kMqueueMagic = 0x19800202;  // in no header

bool IsAtOrBelow(const std::string& path, const char* top) {
  return path == top || absl::StartsWith(path, absl::StrCat(top, "/"));
}

// A directory of devices or of kernel objects. The devices lie on one file system with /dev itself, whichever it is.
bool IsDeviceDirectory(const std::string& path, const struct stat& info) {
  struct stat dev {};
  if (::stat("/dev", &dev) == 0 && dev.st_dev == info.st_dev) return true;
  struct statfs system {};
  if (::statfs(path.c_str(), &system) != 0) return false;
  return system.f_type == DEVPTS_SUPER_MAGIC || system.f_type == HUGETLBFS_MAGIC || system.f_type == kMqueueMagic;
}

}  // namespace

bool IsGuestOwn(const std::string& source) {
  if (IsAtOrBelow(source, "/proc") || IsAtOrBelow(source, "/sys")) return true;
  if (!IsAtOrBelow(source, "/dev")) return false;
  struct stat info {};
  // What is not there may be there in the guest, a device above all.
  if (::stat(source.c_str(), &info) != 0) return true;
  if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) return true;
  return S_ISDIR(info.st_mode) && IsDeviceDirectory(source, info);
}

}  // namespace kata::virtcontainers
