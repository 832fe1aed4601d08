// SPDX-License-Identifier: Apache-2.0
// A file of a saved machine: a header that tells the size and the digest of what follows, so that a file which a full
// disk or a crash has cut short, or a disk has damaged, is known before a guest goes on from it. The digest (XXH3, 64
// bits) is fast and no protection from somebody who can write the file: only root can. Blocking.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::hypervisors {

// Bytes of the header; the payload follows.
inline constexpr uint64_t kCheckedHeader = 24;
// Of one that is read as a whole.
inline constexpr uint64_t kCheckedPayloadMax = 64u << 20;

// A new file, for writing from the payload's begin on. Legal until SealChecked: the header, which is there last, says
// what the payload must be.
absl::StatusOr<UniqueFd> CreateChecked(const std::string& path);
// Reads the payload back and writes the header, both to the disk.
absl::Status SealChecked(int fd, const std::string& path);

// Open for reading, at the payload's begin; `size` of it. DataLoss when the header is none or the size another; the
// payload's digest is compared by the reader, with `digest`.
struct CheckedFile {
  UniqueFd fd;
  uint64_t size = 0;
  uint64_t digest = 0;
};
absl::StatusOr<CheckedFile> OpenChecked(const std::string& path);
// Reads all of the payload, compares it, and leaves the descriptor at the payload's begin.
absl::Status CheckPayload(const CheckedFile& file, const std::string& path);
// What reading another payload than the header says is.
absl::Status Damaged(const std::string& path);

}  // namespace kata::hypervisors
