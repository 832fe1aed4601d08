// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/directory_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "proto/base/status.h"

namespace kata::agent {
namespace {

constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
// Of one read of entries.
constexpr size_t kReadSize = 4096;

}  // namespace

absl::StatusOr<DirectoryWalk> DirectoryWalk::Open(const std::string& top) {
  UniqueFd fd(::open(top.c_str(), kFlags));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", top, "\""));
  return DirectoryWalk(std::move(fd));
}

absl::StatusOr<bool> DirectoryWalk::EnterNext() {
  long& position = levels_.back().position;
  if (::lseek(fd_.get(), position, SEEK_SET) < 0) return ErrnoStatus(errno, "seeking a directory");
  for (;;) {
    alignas(dirent64) char bytes[kReadSize];
    const long size = ::syscall(SYS_getdents64, fd_.get(), bytes, sizeof(bytes));
    if (size < 0) return ErrnoStatus(errno, "reading a directory");
    if (size == 0) return false;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(bytes + at);
      at += entry->d_reclen;
      position = static_cast<long>(entry->d_off);
      const bool is_itself = std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0;
      if (entry->d_type != DT_DIR || is_itself) continue;
      UniqueFd child(::openat(fd_.get(), entry->d_name, kFlags));
      // It may have gone meanwhile.
      if (!child.valid() && errno == ENOENT) continue;
      if (!child.valid()) return ErrnoStatus(errno, "opening a directory");
      levels_.push_back(Level{.name = entry->d_name});
      fd_ = std::move(child);
      return true;
    }
  }
}

absl::StatusOr<DirectoryWalk::Step> DirectoryWalk::Next() {
  if (levels_.empty()) {
    levels_.emplace_back();
    return Step::kEntered;
  }
  ASSIGN_OR_RETURN(const bool has_entered, EnterNext());
  if (has_entered) return Step::kEntered;
  if (levels_.size() == 1) return Step::kEnded;
  UniqueFd parent(::openat(fd_.get(), "..", kFlags));
  if (!parent.valid()) return ErrnoStatus(errno, "opening a directory's parent");
  fd_ = std::move(parent);
  left_ = std::move(levels_.back().name);
  levels_.pop_back();
  return Step::kLeft;
}

}  // namespace kata::agent
