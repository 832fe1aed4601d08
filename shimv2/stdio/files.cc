// SPDX-License-Identifier: Apache-2.0
#include "shimv2/stdio/files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <tuple>

#include <absl/strings/match.h>
#include <absl/strings/strip.h>

#include "proto/base/status.h"
#include "shimv2/stdio/logger_uri.h"

namespace kata::shimv2 {
namespace {

constexpr char kFileScheme[] = "file://";

bool TakesBoth(const std::string& out) { return absl::StartsWith(out, kFileScheme) || IsLoggerUri(out); }

absl::StatusOr<UniqueFd> Open(const std::string& path, int flags, mode_t mode, const char* which) {
  UniqueFd fd(::open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, mode));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening ", which, " \"", path, "\""));
  return fd;
}

// `late` gets the path of a fifo that has no reader yet.
absl::StatusOr<UniqueFd> OpenOutput(std::string path, const char* which, std::string* late) {
  if (absl::StartsWith(path, kFileScheme)) {
    path = std::string(absl::StripPrefix(path, kFileScheme));
    const size_t slash = path.rfind('/');
    if (path.empty() || path[0] != '/') {
      return absl::InvalidArgumentError(
          absl::StrCat("opening ", which, " \"", kFileScheme, path, "\": not an absolute path"));
    }
    if (slash > 0) RETURN_IF_ERROR(MakeDirs(path.substr(0, slash), 0755));
    return Open(path, O_WRONLY | O_APPEND | O_CREAT, 0644, which);
  }
  path = std::string(absl::StripPrefix(path, "fifo://"));
  if (absl::StrContains(path, "://")) {
    const char* why = IsLoggerUri(path) ? "a logger is given as stdout and takes both"
                                        : "this scheme is not supported; use a fifo, file:// or binary://";
    return absl::InvalidArgumentError(absl::StrCat("opening ", which, " \"", path, "\": ", why));
  }
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("opening ", which, " \"", path, "\""));
  if (!S_ISFIFO(info.st_mode)) return Open(path, O_WRONLY | O_APPEND, 0, which);
  ASSIGN_OR_RETURN(UniqueFd fd, OpenOutputFifo(path, which));
  if (!fd.valid()) *late = path;
  return fd;
}

}  // namespace

absl::StatusOr<UniqueFd> OpenOutputFifo(const std::string& path, const char* which) {
  UniqueFd probe(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!probe.valid() && errno == ENXIO) return UniqueFd();
  if (!probe.valid()) return ErrnoStatus(errno, absl::StrCat("opening ", which, " \"", path, "\""));
  return Open(path, O_RDWR, 0, which);
}

absl::Status OpenLateOutputs(StdioFiles& files) {
  for (auto [late, fd, which] :
       {std::tuple(&files.late_out, &files.out, "stdout"), std::tuple(&files.late_err, &files.err, "stderr")}) {
    if (late->empty()) continue;
    ASSIGN_OR_RETURN(*fd, OpenOutputFifo(*late, which));
    if (fd->valid()) late->clear();
  }
  return absl::OkStatus();
}

bool HasOutput(const StdioPaths& paths) { return !paths.out.empty(); }

bool HasErrors(const StdioPaths& paths) { return !paths.terminal && (!paths.err.empty() || TakesBoth(paths.out)); }

absl::StatusOr<StdioFiles> OpenStdioFiles(const StdioPaths& paths) {
  StdioFiles files;
  if (!paths.in.empty()) {
    const std::string path(absl::StripPrefix(paths.in, "fifo://"));
    ASSIGN_OR_RETURN(files.in, Open(path, O_RDONLY, 0, "stdin"));
    ASSIGN_OR_RETURN(files.in_keeper, Open(path, O_WRONLY, 0, "stdin"));
  }
  if (IsLoggerUri(paths.out)) {
    RETURN_IF_ERROR(ParseLoggerUri(paths.out).status());
    return files;
  }
  if (HasOutput(paths)) {
    ASSIGN_OR_RETURN(files.out, OpenOutput(paths.out, "stdout", &files.late_out));
  }
  if (HasErrors(paths)) {
    files.err_is_out = paths.err == paths.out || TakesBoth(paths.out);
    if (!files.err_is_out) {
      ASSIGN_OR_RETURN(files.err, OpenOutput(paths.err, "stderr", &files.late_err));
    }
  }
  return files;
}

}  // namespace kata::shimv2
