// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/agent_client/listening_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr int kBacklog = 1;  // one process connects

}  // namespace

absl::StatusOr<UniqueFd> ListenFor(const std::string& path, uid_t uid, gid_t gid) {
  const std::string what = absl::StrCat("listening at \"", path, "\"");
  const size_t slash = path.rfind('/');
  const std::string name = path.substr(slash + 1);
  const UniqueFd directory(::open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return ErrnoStatus(errno, what);
  const std::string through = absl::StrCat("/proc/self/fd/", directory.get(), "/", name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (through.size() >= sizeof(address.sun_path)) return ErrnoStatus(ENAMETOOLONG, what);
  std::memcpy(address.sun_path, through.data(), through.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::unlinkat(directory.get(), name.c_str(), 0);
  if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::fchmodat(directory.get(), name.c_str(), 0600, 0) != 0 ||
      ::fchownat(directory.get(), name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    return ErrnoStatus(errno, what);
  }
  return fd;
}

}  // namespace kata::virtcontainers
