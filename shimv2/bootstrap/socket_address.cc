// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/socket_address.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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

// One at a time for a path, or two would take away each other's socket. A process that is stopped holds up its own id
// only. The file goes with the lock; one that was killed leaves it to the next start or to `delete`.
class PathLock {
 public:
  static absl::StatusOr<PathLock> Take(const std::string& path) {
    const std::string file = absl::StrCat(path, ".lock");
    for (int i = 0; i < kLockTries; ++i) {
      UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", file, "\""));
      struct stat mine {};
      struct stat there {};
      // The one before may have removed it while we waited.
      if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(fd.get(), &mine) == 0 &&
          ::stat(file.c_str(), &there) == 0 && mine.st_ino == there.st_ino) {
        return PathLock(file, std::move(fd));
      }
      fd.reset();
      ::usleep(kLockPause);
    }
    return absl::UnavailableError(
        absl::StrCat("listening on \"", path, "\": another start of this id is under way and does not go on"));
  }
  PathLock(PathLock&&) = default;
  PathLock& operator=(PathLock&&) = delete;
  ~PathLock() {
    if (fd_.valid()) ::unlink(file_.c_str());
  }

 private:
  PathLock(std::string file, UniqueFd fd) : file_(std::move(file)), fd_(std::move(fd)) {}

  std::string file_;
  UniqueFd fd_;
};

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
  const auto lock = PathLock::Take(path);  // not between the look and the bind of a start; and its file goes
  if (!lock.ok()) return;
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode) || IsListening(path)) return;
  ::unlink(path.c_str());
}

absl::StatusOr<UniqueFd> ListenOn(const std::string& path) {
  RETURN_IF_ERROR(MakeDirs(path.substr(0, path.rfind('/')), 0711));
  ASSIGN_OR_RETURN(const PathLock lock, PathLock::Take(path));
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
