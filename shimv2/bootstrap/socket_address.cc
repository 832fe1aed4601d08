// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/socket_address.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include <absl/strings/ascii.h>
#include <absl/strings/strip.h>

#include "proto/base/sha256.h"
#include "proto/base/status.h"
#include "proto/ttrpc/transport.h"

namespace kata::shimv2 {

namespace {

constexpr char kScheme[] = "unix://";
constexpr size_t kAddressFileMax = 4096;
constexpr int kLockTries = 400;
constexpr useconds_t kLockPause = 5000;  // microseconds

}  // namespace

std::string SocketPath(const std::string& directory, const std::string& address, const std::string& name_space,
                       const std::string& group) {
  return absl::StrCat(directory.empty() ? kSocketDirectory : directory, "/",
                      Sha256Hex(absl::StrCat(address, "/", name_space, "/", group)));
}

std::string SocketAddress(const std::string& path) { return absl::StrCat(kScheme, path); }

std::string RecordedSocketPath(const std::string& bundle) {
  auto text = ReadFile(absl::StrCat(bundle, "/address"), kAddressFileMax);
  if (!text.ok()) return "";
  absl::string_view path = absl::StripAsciiWhitespace(*text);
  if (!absl::ConsumePrefix(&path, kScheme) || path.empty() || path[0] != '/') return "";
  return std::string(path);
}

bool IsListening(const std::string& path) { return ttrpc::ConnectUnix(path).ok(); }

void RemoveStaleSocket(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode) || IsListening(path)) return;
  ::unlink(path.c_str());
}

namespace {

// One at a time for a path, or two would take away each other's socket. An abstract socket is the lock: it leaves
// nothing and goes with its process; a process that is stopped holds up its own id only.
absl::StatusOr<UniqueFd> LockPath(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "making a socket");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string text = absl::StrCat("kata-start/", Sha256Hex(path));
  std::memcpy(name.sun_path + 1, text.data(), text.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  for (int i = 0; i < kLockTries; ++i) {
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), size) == 0) return fd;
    if (errno != EADDRINUSE) return ErrnoStatus(errno, absl::StrCat("locking \"", path, "\""));
    ::usleep(kLockPause);
  }
  return absl::UnavailableError(
      absl::StrCat("listening on \"", path, "\": another start of this id is under way and does not go on"));
}

}  // namespace

absl::StatusOr<UniqueFd> ListenOn(const std::string& path) {
  RETURN_IF_ERROR(MakeDirs(path.substr(0, path.rfind('/')), 0711));
  ASSIGN_OR_RETURN(const UniqueFd lock, LockPath(path));
  if (IsListening(path)) {
    return absl::AlreadyExistsError(absl::StrCat("listening on \"", path, "\": another shim of this id is running"));
  }
  ::unlink(path.c_str());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "making a socket");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("listening on \"", path, "\": the path is too long"));
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  const mode_t old_mask = ::umask(0177);
  const int bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name));
  const int error = errno;
  ::umask(old_mask);
  if (bound != 0) return ErrnoStatus(error, absl::StrCat("binding \"", path, "\""));
  if (::listen(fd.get(), SOMAXCONN) != 0) return ErrnoStatus(errno, absl::StrCat("listening on \"", path, "\""));
  return fd;
}

}  // namespace kata::shimv2
