// SPDX-License-Identifier: Apache-2.0
#include "agent/rootfs/copy_up.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

constexpr size_t kChunkSize = 1u << 20;
constexpr size_t kLinkSizeMax = 4096;

absl::Status Error(const char* what, const char* name) {
  return SystemError(errno, absl::StrCat("copying up: ", what, " \"", name, "\""));
}

absl::Status CopyBytes(int from, int to, const char* name, CopyUpLimits& left) {
  for (;;) {
    const ssize_t n = ::sendfile(to, from, nullptr, kChunkSize);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error("writing", name);
    if (n == 0) return absl::OkStatus();
    if (static_cast<uint64_t>(n) > left.bytes)
      return absl::ResourceExhaustedError("copying up: the directory's files are too large");
    left.bytes -= static_cast<uint64_t>(n);
  }
}

absl::Status CopyFile(int from, int to, const char* name, CopyUpLimits& left) {
  UniqueFd source(::openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!source.valid()) return Error("opening", name);
  UniqueFd target(::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!target.valid()) return Error("creating", name);
  return CopyBytes(source.get(), target.get(), name, left);
}

absl::Status CopyLink(int from, int to, const char* name) {
  char text[kLinkSizeMax];
  const ssize_t size = ::readlinkat(from, name, text, sizeof(text));
  if (size < 0) return Error("reading link", name);
  const std::string link(text, static_cast<size_t>(size));
  if (::symlinkat(link.c_str(), to, name) != 0) return Error("linking", name);
  return absl::OkStatus();
}

absl::Status CopyDirectory(int from, int to, CopyUpLimits& left);

absl::Status CopyBelow(int from, int to, const char* name, CopyUpLimits& left) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (::mkdirat(to, name, 0700) != 0) return Error("creating", name);
  UniqueFd source(::openat(from, name, kFlags));
  UniqueFd target(::openat(to, name, kFlags));
  if (!source.valid() || !target.valid()) return Error("opening", name);
  return CopyDirectory(source.get(), target.get(), left);
}

absl::Status CopyEntry(int from, int to, const char* name, CopyUpLimits& left) {
  struct stat info {};
  if (::fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return Error("looking at", name);
  if (left.entries-- == 0) return absl::ResourceExhaustedError("copying up: the directory has too many files");
  if (S_ISSOCK(info.st_mode)) return absl::OkStatus();
  if (S_ISDIR(info.st_mode)) {
    RETURN_IF_ERROR(CopyBelow(from, to, name, left));
  } else if (S_ISREG(info.st_mode)) {
    RETURN_IF_ERROR(CopyFile(from, to, name, left));
  } else if (S_ISLNK(info.st_mode)) {
    RETURN_IF_ERROR(CopyLink(from, to, name));
  } else if (::mknodat(to, name, info.st_mode & (S_IFMT | 0777), info.st_rdev) != 0) {
    return Error("creating", name);
  }
  if (::fchownat(to, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
    return Error("changing the owner of", name);
  // After the owner, whose change takes set-user-id away.
  if (!S_ISLNK(info.st_mode) && ::fchmodat(to, name, info.st_mode & 07777, 0) != 0)
    return Error("changing the mode of", name);
  const timespec times[2] = {info.st_atim, info.st_mtim};
  if (::utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) != 0) return Error("setting the times of", name);
  return absl::OkStatus();
}

absl::Status CopyDirectory(int from, int to, CopyUpLimits& left) {
  if (left.depth-- == 0) return absl::ResourceExhaustedError("copying up: the directory is too deep");
  const int copy = ::openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  std::unique_ptr<DIR, int (*)(DIR*)> dir(copy < 0 ? nullptr : ::fdopendir(copy), ::closedir);
  if (dir == nullptr) return Error("reading", ".");
  while (dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") RETURN_IF_ERROR(CopyEntry(from, to, name.c_str(), left));
  }
  ++left.depth;
  return absl::OkStatus();
}

}  // namespace

absl::Status CopyUp(int from, int to, CopyUpLimits limits) { return CopyDirectory(from, to, limits); }

}  // namespace kata::agent
