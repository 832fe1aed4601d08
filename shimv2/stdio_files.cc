// SPDX-License-Identifier: Apache-2.0
#include "shimv2/stdio_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <absl/strings/match.h>
#include <absl/strings/strip.h>

#include "proto/base/status.h"

namespace kata::shimv2 {
namespace {

absl::StatusOr<UniqueFd> Open(const std::string& path, int flags, mode_t mode, const char* which) {
  UniqueFd fd(::open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, mode));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening ", which, " \"", path, "\""));
  return fd;
}

absl::StatusOr<UniqueFd> OpenOutput(std::string path, const char* which) {
  if (absl::StartsWith(path, "file://")) {
    path = path.substr(7);
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("opening ", which, " \"file://", path, "\": not an absolute path"));
    }
    if (slash > 0) RETURN_IF_ERROR(MakeDirs(path.substr(0, slash), 0755));
    return Open(path, O_WRONLY | O_APPEND | O_CREAT, 0644, which);
  }
  path = std::string(absl::StripPrefix(path, "fifo://"));
  if (absl::StrContains(path, "://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("opening ", which, " \"", path, "\": this scheme is not supported; use a fifo or file://"));
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("opening ", which, " \"", path, "\""));
  // Both ends of a fifo: neither a missing nor a restarting reader makes a write fail.
  if (S_ISFIFO(info.st_mode)) return Open(path, O_RDWR, 0, which);
  return Open(path, O_WRONLY | O_APPEND, 0, which);
}

}  // namespace

absl::StatusOr<StdioFiles> OpenStdioFiles(const StdioPaths& paths) {
  StdioFiles files;
  if (!paths.in.empty()) {
    const std::string path(absl::StripPrefix(paths.in, "fifo://"));
    ASSIGN_OR_RETURN(files.in, Open(path, O_RDONLY, 0, "stdin"));
    ASSIGN_OR_RETURN(files.in_keeper, Open(path, O_WRONLY, 0, "stdin"));
  }
  if (!paths.out.empty()) {
    ASSIGN_OR_RETURN(files.out, OpenOutput(paths.out, "stdout"));
  }
  if (!paths.err.empty() && !paths.terminal) {
    files.err_is_out = paths.err == paths.out;
    if (!files.err_is_out) {
      ASSIGN_OR_RETURN(files.err, OpenOutput(paths.err, "stderr"));
    }
  }
  return files;
}

}  // namespace kata::shimv2
