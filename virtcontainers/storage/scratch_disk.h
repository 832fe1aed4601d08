// SPDX-License-Identifier: Apache-2.0
// Disks for what a container writes and nobody keeps: sparse images with an empty ext4. They have no name on the host,
// so that they are gone with whoever has them open, however that ends. Blocking; pool threads.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

#include "virtcontainers/storage/disk_file.h"

namespace kata::virtcontainers {

inline constexpr char kScratchType[] = "ext4";

// Its blocks are in `directory`, which is made; mke2fs makes the file system. FailedPrecondition where the directory's
// own has no files without a name, or where there is no mke2fs.
absl::StatusOr<DiskFile> MakeScratchDisk(const std::string& directory, uint64_t size_mib);

}  // namespace kata::virtcontainers
