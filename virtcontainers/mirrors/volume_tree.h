// SPDX-License-Identifier: Apache-2.0
// All files of a small volume, read at one time. Blocking; any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::virtcontainers {

// A ConfigMap or a Secret has at most 1 MiB; one message of the agent's channel holds as much as this.
inline constexpr size_t kTreeBytesMax = 2u << 20;
inline constexpr size_t kTreeEntriesMax = 2048;
inline constexpr int kTreeDepthMax = 16;

struct TreeEntry {
  std::string path;  // relative to the volume; empty: its directory itself
  mode_t mode = 0;   // with the type: a directory, a regular file, a symbolic link
  uid_t uid = 0;
  gid_t gid = 0;
  int64_t mtime_ns = 0;
  std::string content;  // of a file; where a link leads
};

struct VolumeTree {
  std::vector<TreeEntry> entries;  // the volume first, each directory before what is in it
  size_t bytes = 0;                // of a message that has them
};

// Of an open directory. No link is followed and no mount entered. NotFound where something went while it was read:
// another try may do. FailedPrecondition for a volume that has more than the bounds above, or other kinds of files.
absl::StatusOr<VolumeTree> ReadVolumeTree(int directory);

}  // namespace kata::virtcontainers
