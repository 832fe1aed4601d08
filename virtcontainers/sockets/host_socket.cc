// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sockets/host_socket.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

constexpr mode_t kPermissions = 0777;

// The node itself, whatever is put in its place later.
absl::StatusOr<UniqueFd> OpenNode(const std::string& path, struct stat& info) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_NO_SYMLINKS;
  UniqueFd node(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof(how))));
  if (!node.valid() || ::fstat(node.get(), &info) != 0)
    return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\""));
  if (!S_ISSOCK(info.st_mode))
    return absl::FailedPreconditionError(absl::StrCat("\"", path, "\" is no socket any more"));
  return node;
}

// Without waiting; 0 or an errno.
int Connect(const UniqueFd& node, int type, UniqueFd& out) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", node.get());
  out.reset(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!out.valid()) return errno;
  return ::connect(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
}

// By a connection of the kind, which leaves no trace at a server of another one. False too where nobody listens.
bool IsOfKind(const UniqueFd& node, int type) {
  UniqueFd probe;
  const int error = Connect(node, type, probe);
  // EPERM: a datagram socket that takes from one peer only. EAGAIN: one with no room for a further connection.
  return error == 0 || error == EAGAIN || error == EPERM;
}

std::string Resolve(const std::string& source) {
  const std::unique_ptr<char, decltype(&std::free)> path(::realpath(source.c_str(), nullptr), &std::free);
  return path != nullptr ? path.get() : "";
}

}  // namespace

absl::StatusOr<std::optional<HostSocket>> FindHostSocket(const std::string& source, const SocketRules& rules) {
  struct stat info {};
  if (::stat(source.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return std::nullopt;
  HostSocket found;
  found.path = Resolve(source);
  const std::string name = source == found.path
                               ? absl::StrCat("socket \"", source, "\"")
                               : absl::StrCat("socket \"", source, "\", which is \"", found.path, "\"");
  if (!IsListed(rules, found.path)) {
    return absl::PermissionDeniedError(absl::StrCat(
        name, ": a pod may have those sockets of the host that shared_sockets lists; an operator can add \"",
        found.path, "\" to it in \"", rules.file, "\""));
  }
  auto node = OpenNode(found.path, info);
  if (!node.ok()) return Annotate(node.status(), name);
  for (const auto& [type, kind] : {std::pair(SOCK_DGRAM, "SOCK_DGRAM"), std::pair(SOCK_SEQPACKET, "SOCK_SEQPACKET")}) {
    if (IsOfKind(*node, type))
      return absl::UnimplementedError(absl::StrCat(name, ": it is a ", kind, ", and only SOCK_STREAM can be shared"));
  }
  found.mode = info.st_mode & kPermissions;
  found.uid = info.st_uid;
  found.gid = info.st_gid;
  return found;
}

absl::StatusOr<UniqueFd> ConnectToHostSocket(const std::string& path) {
  struct stat info {};
  ASSIGN_OR_RETURN(const UniqueFd node, OpenNode(path, info));
  UniqueFd out;
  const int error = Connect(node, SOCK_STREAM, out);
  const std::string what = absl::StrCat("connecting to \"", path, "\"");
  if (error == EAGAIN)
    return absl::ResourceExhaustedError(absl::StrCat(what, ": its server takes no more connections"));
  if (error == EPROTOTYPE) return absl::UnimplementedError(absl::StrCat(what, ": it is no SOCK_STREAM"));
  if (error != 0) return ErrnoStatus(error, what);
  return out;
}

}  // namespace kata::virtcontainers
