// SPDX-License-Identifier: Apache-2.0
// Owned file descriptors and the few file operations that need care. All descriptors are close-on-exec.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>

namespace kata {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// Reads until end of file; ResourceExhausted when more than `size_max` bytes come.
absl::StatusOr<std::string> ReadAll(int fd, size_t size_max);
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t size_max);
absl::Status WriteAll(int fd, std::string_view data);
// Creates or replaces `path` through a temporary file and rename.
absl::Status WriteFileAtomically(const std::string& path, std::string_view data, unsigned mode);
// Writes to an existing file (sysfs, procfs, cgroupfs).
absl::Status WriteExisting(const std::string& path, std::string_view data);
// Opens `path` below `dir_fd` by openat2 with BENEATH | NO_SYMLINKS | NO_MAGICLINKS; O_CLOEXEC is added.
absl::StatusOr<UniqueFd> OpenBeneath(int dir_fd, const std::string& path, int flags, unsigned mode = 0);
// Creates all missing parents of `path` and `path` itself.
absl::Status MakeDirs(const std::string& path, unsigned mode);

}  // namespace kata
