// SPDX-License-Identifier: Apache-2.0
// What a container's mounts and working directory need of a root file system that the guest may not write to: the
// directories and files to mount on. Blocking; pool threads.
#pragma once

#include <string>
#include <vector>

namespace kata::virtcontainers {

struct MountPoint {
  std::string path;    // in the rootfs
  std::string source;  // on the host, of a bind: the mount point is of its kind. Empty: a directory.
};

// Makes those that are missing, as far as that is possible: what is missing then, the guest names. Links in the rootfs
// do not lead out of it.
void MakeMountPoints(int rootfs, const std::vector<MountPoint>& points);

}  // namespace kata::virtcontainers
