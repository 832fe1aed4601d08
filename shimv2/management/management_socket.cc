// SPDX-License-Identifier: Apache-2.0
#include "shimv2/management/management_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proto/base/status.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox/runtime_directory.h"

namespace kata::shimv2 {
namespace {

constexpr int kBacklog = 64;

}  // namespace

absl::StatusOr<UniqueFd> ListenForManagement(const std::string& sandbox_name) {
  if (!virtcontainers::IsValidSandboxId(sandbox_name))
    return absl::InvalidArgumentError(absl::StrCat("\"", sandbox_name, "\" is no sandbox id"));
  RETURN_IF_ERROR(virtcontainers::MakeRuntimeDirectory(sandbox_name));
  const std::string directory = virtcontainers::RuntimeDirectory(sandbox_name);
  const UniqueFd at(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at.valid()) return ErrnoStatus(errno, absl::StrCat("opening \"", directory, "\""));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "making a socket");
  // The file that bind makes has the socket's mode: no moment at which others could connect, and no umask of all
  // threads.
  if (::fchmod(fd.get(), 0600) != 0) return ErrnoStatus(errno, "closing the socket to others");
  // Through the descriptor: a long path does not fit an address.
  const std::string path = absl::StrCat("/proc/self/fd/", at.get(), "/", virtcontainers::kManagementSocket);
  ::unlinkat(at.get(), virtcontainers::kManagementSocket, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0)
    return ErrnoStatus(errno, absl::StrCat("binding \"", directory, "/", virtcontainers::kManagementSocket, "\""));
  if (::listen(fd.get(), kBacklog) != 0) return ErrnoStatus(errno, "listening for management");
  return fd;
}

}  // namespace kata::shimv2
