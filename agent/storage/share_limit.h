// SPDX-License-Identifier: Apache-2.0
// Keeps the share's files that the guest's kernel knows below what the host can hold open for it: one descriptor each,
// 20,000 on some hosts. A walk over more files would fail with "too many open files" in the middle; here the kernel
// is made to forget files that nobody uses. Io thread only.
#pragma once

#include <chrono>
#include <cstdint>

#include "agent/process/exit_table.h"
#include "proto/base/coro.h"

namespace kata::agent {

// Beyond this the guest's memory is the limit, and its kernel minds that by itself: nothing is watched.
inline constexpr uint64_t kShareFilesPlenty = 500'000;

// Decides by the number of the guest's inodes, which is cheap to read but counts the files of every file system:
// what is in use or is no file of the share does not go away by forgetting, so growth is what counts.
class ShareBudget {
 public:
  // `known`: inodes before the share is used.
  ShareBudget(uint64_t files_max, uint64_t known) : most_(files_max / 4), floor_(known) {}
  // Whether files must be forgotten now.
  bool IsUsedUp(uint64_t known);
  // What is left after that.
  void Forgotten(uint64_t known) { floor_ = known; }
  // How long to wait with `known`, so that even a fast walk stays below the limit meanwhile.
  std::chrono::milliseconds NextLook(uint64_t known) const;

 private:
  // A quarter: the host hears of what is forgotten later, a second and more when it is busy; till then that counts as
  // well.
  const uint64_t most_;
  uint64_t floor_;
};

// For ever.
Co<absl::Status> KeepShareLimit(ExitTable* exits, uint64_t files_max);

}  // namespace kata::agent
