// SPDX-License-Identifier: Apache-2.0
#include "proto/base/fd.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "proto/base/status.h"

namespace kata {

absl::Status ErrnoStatus(int error, absl::string_view what) {
  std::string text = strerror(error);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return absl::Status(absl::ErrnoToStatusCode(error), absl::StrCat(what, ": ", text));
}

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) reset(other.release());
  return *this;
}

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

absl::StatusOr<std::string> ReadAll(int fd, size_t size_max) {
  std::string out;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "reading");
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > size_max) {
      return absl::ResourceExhaustedError(absl::StrCat("reading: more than ", size_max, " bytes"));
    }
    out.append(buffer, static_cast<size_t>(n));
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t size_max) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  auto data = ReadAll(fd.get(), size_max);
  if (!data.ok()) return Annotate(data.status(), absl::StrCat("\"", path, "\""));
  return data;
}

absl::Status WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "writing");
    data.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view data, unsigned mode) {
  // Its own name for each writer: two at once must not mix.
  std::string temporary = absl::StrCat(path, ".XXXXXX");
  UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("creating \"", path, "\""));
  absl::Status status = Annotate(WriteAll(fd.get(), data), absl::StrCat("\"", path, "\""));
  if (status.ok() && ::fchmod(fd.get(), mode) != 0)
    status = ErrnoStatus(errno, absl::StrCat("opening up \"", path, "\""));
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, absl::StrCat("renaming \"", temporary, "\" to \"", path, "\""));
  }
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

absl::Status WriteExisting(const std::string& path, std::string_view data) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  return Annotate(WriteAll(fd.get(), data), absl::StrCat("\"", path, "\""));
}

absl::StatusOr<UniqueFd> OpenBeneath(int dir_fd, const std::string& path, int flags, unsigned mode) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  long fd = ::syscall(SYS_openat2, dir_fd, path.c_str(), &how, sizeof(how));
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\" beneath the share"));
  return UniqueFd(static_cast<int>(fd));
}

absl::Status MakeDirs(const std::string& path, unsigned mode) {
  for (size_t at = 1; at <= path.size(); ++at) {
    at = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, absl::StrCat("creating directory \"", part, "\""));
    }
  }
  return absl::OkStatus();
}

}  // namespace kata
