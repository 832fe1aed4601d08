// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/share_limit.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>
#include <boost/asio/this_coro.hpp>

#include "agent/base/errors.h"
#include "proto/base/fd.h"
#include "proto/base/log.h"

namespace kata::agent {
namespace {

// A round trip per file: more than this a second has not been seen.
constexpr uint64_t kFilesPerMillisecond = 50;
constexpr std::chrono::milliseconds kLookMin{20};
constexpr std::chrono::milliseconds kLookMax{1000};
// For /proc/sys/vm/drop_caches, bits that it takes one or two at a time: 1 pages, 2 dentries and inodes, 4 no line in
// the kernel's log from then on.
constexpr char kQuietly[] = "4";
constexpr char kForget[] = "2";
constexpr char kForgetWithPages[] = "3";  // an inode with cached pages is not forgotten else

absl::StatusOr<uint64_t> CountInodes() {
  ASSIGN_OR_RETURN(std::string text, ReadFile("/proc/sys/fs/inode-nr", 256));
  uint64_t count = 0;
  const std::vector<absl::string_view> words = absl::StrSplit(text, absl::ByAnyChar("\t \n"), absl::SkipEmpty());
  if (words.empty() || !absl::SimpleAtoi(words[0], &count)) return absl::InternalError("reading inode-nr: no number");
  return count;
}

// In a process of its own: it takes as long as there are files to forget.
Co<absl::Status> Drop(ExitTable* exits, const char* what) {
  auto ended = std::make_shared<Latch>(co_await asio::this_coro::executor);
  const pid_t pid = ::fork();
  if (pid < 0) co_return SystemError(errno, "forking to drop caches");
  if (pid == 0) {
    const int fd = ::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    // Each at the file's start: the kernel takes a number elsewhere for a mistake and ignores it without a word.
    const bool is_done = fd >= 0 && ::pwrite(fd, kQuietly, 1, 0) == 1 && ::pwrite(fd, what, 1, 0) == 1;
    ::_exit(is_done ? 0 : 1);
  }
  auto status = std::make_shared<int>(0);
  exits->Register(pid, [ended, status](int exit_status) {
    *status = exit_status;
    ended->Set();
  });
  co_await ended->Wait();
  if (*status != 0) co_return absl::InternalError("dropping caches: the kernel refused it");
  co_return absl::OkStatus();
}

// How many files are known after it.
Co<absl::StatusOr<uint64_t>> ForgetFiles(ExitTable* exits, uint64_t known) {
  CO_RETURN_IF_ERROR(co_await Drop(exits, kForget));
  CO_ASSIGN_OR_RETURN(uint64_t left, CountInodes());
  if (left > known / 2) {
    CO_RETURN_IF_ERROR(co_await Drop(exits, kForgetWithPages));
    CO_ASSIGN_OR_RETURN(left, CountInodes());
  }
  co_return left;
}

}  // namespace

bool ShareBudget::IsUsedUp(uint64_t known) {
  floor_ = std::min(floor_, known);
  return known - floor_ > most_;
}

std::chrono::milliseconds ShareBudget::NextLook(uint64_t known) const {
  const uint64_t end = floor_ + most_;
  const uint64_t room = end > known ? end - known : 0;
  return std::clamp(std::chrono::milliseconds(room / kFilesPerMillisecond), kLookMin, kLookMax);
}

Co<absl::Status> KeepShareLimit(ExitTable* exits, uint64_t files_max) {
  if (files_max >= kShareFilesPlenty) co_return absl::OkStatus();
  CO_ASSIGN_OR_RETURN(uint64_t known, CountInodes());
  ShareBudget budget(files_max, known);
  for (;;) {
    co_await Sleep(budget.NextLook(known));
    CO_ASSIGN_OR_RETURN(known, CountInodes());
    if (!budget.IsUsedUp(known)) continue;
    const uint64_t before = known;
    const absl::StatusOr<uint64_t> left = co_await ForgetFiles(exits, before);
    if (!left.ok()) {
      // No process to be had, say: the next look tries again.
      log::Warn("the share's files are not forgotten for now: {}", left.status().message());
      co_await Sleep(kLookMax);
      continue;
    }
    known = *left;
    log::Debug("forgot {} of {} files for the share's limit of {}", before - std::min(before, known), before,
               files_max);
    budget.Forgotten(known);
  }
}

}  // namespace kata::agent
