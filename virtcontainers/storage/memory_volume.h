// SPDX-License-Identifier: Apache-2.0
// Memory volumes: a tmpfs that the kubelet has made for an emptyDir with medium "Memory", or an engine for a pod's
// /dev/shm; and a hugetlbfs, whose pages are the guest's. Through the share such a volume would be the host's memory,
// charged to nobody; in the guest it is a tmpfs with the same size and owner, one for all containers of the pod.
// Blocking; pool threads.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::virtcontainers {

// The agent mounts nothing else below it (kMemoryVolumes of agent/base/paths.h).
inline constexpr char kGuestMemoryVolumes[] = "/run/kata-containers/memory";

struct MemoryVolume {
  struct Directory {
    std::string path;  // relative to the volume
    mode_t mode = 0;
    uid_t uid = 0;
    gid_t gid = 0;
  };
  std::string key;                     // of the volume in its sandbox
  std::string type;                    // tmpfs, hugetlbfs
  std::vector<std::string> options;    // of the guest's mount
  std::string path;                    // what is bound, relative to the volume; empty is all of it
  std::vector<Directory> directories;  // the way to it

  std::string GuestMountPoint() const;
  std::string GuestSource() const;
};

// The volume that a bind of `source` at `destination` means, if it means one. What is decided for the first container
// of a pod holds for the others: it is noted below `notes`, a directory of the sandbox. A tmpfs that has files in it
// by then stays the host's: somebody there shares them.
absl::StatusOr<std::optional<MemoryVolume>> FindMemoryVolume(const std::string& source, const std::string& destination,
                                                             const std::string& notes);

}  // namespace kata::virtcontainers
