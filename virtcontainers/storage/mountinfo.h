// SPDX-License-Identifier: Apache-2.0
// The calling thread's mount table, read by libmount. Blocking; pool threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::virtcontainers {

// A line of /proc/PID/mountinfo.
struct MountEntry {
  uint64_t id = 0;
  std::string device;         // "MAJOR:MINOR"
  std::string root;           // of the mount in its file system
  std::string place;          // where it is mounted
  std::string type;           // of its file system
  std::string source;         // as its mount was told
  std::string options;        // of the mount
  std::string super_options;  // of its file system
  bool is_read_only = false;
};

// In the kernel's order: later ones lie deeper or on top.
absl::StatusOr<std::vector<MountEntry>> Mounts();
// The same from a file in the format of /proc/PID/mountinfo.
absl::StatusOr<std::vector<MountEntry>> ReadMountinfo(const std::string& path);

}  // namespace kata::virtcontainers
