// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/mount_points.h"

#include <sys/stat.h>

#include "proto/base/in_root.h"

namespace kata::virtcontainers {
namespace {

bool IsDirectory(const std::string& source) {
  struct stat info {};
  return source.empty() || (::stat(source.c_str(), &info) == 0 && S_ISDIR(info.st_mode));
}

}  // namespace

void MakeMountPoints(int rootfs, const std::vector<MountPoint>& points) {
  for (const MountPoint& point : points)
    static_cast<void>(MakeInRoot(rootfs, point.path, IsDirectory(point.source)).ok());
}

}  // namespace kata::virtcontainers
