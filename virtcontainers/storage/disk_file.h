// SPDX-License-Identifier: Apache-2.0
// Files and block devices of the host that a machine gets as disks. Blocking; pool threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

struct DiskFile {
  std::shared_ptr<const UniqueFd> file;
  bool is_read_only = false;
  // False for a block device to be written to that somebody else on the host has: it is mounted there, or part of
  // something. While one that is claimed is open, nobody else on the host gets it.
  bool is_claimed = true;
  // Nobody needs it after the machine: what is written need never reach a disk of the host.
  bool is_temporary = false;
};

// InvalidArgument for what is neither a regular file nor a block device, and for one without any room.
absl::StatusOr<DiskFile> OpenDiskFile(const std::string& path, bool is_read_only);

// The host's file of a block device, by its number. NotFound when there is none.
absl::StatusOr<std::string> FindBlockDevice(uint32_t major, uint32_t minor);

}  // namespace kata::virtcontainers
