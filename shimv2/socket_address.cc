// SPDX-License-Identifier: Apache-2.0
#include "shimv2/socket_address.h"

#include <nettle/sha2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include <absl/strings/escaping.h>

#include "proto/base/status.h"
#include "proto/ttrpc/transport.h"

namespace kata::shimv2 {

std::string SocketPath(const std::string& address, const std::string& name_space, const std::string& group) {
  const std::string text = absl::StrCat(address, "/", name_space, "/", group);
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, text.size(), reinterpret_cast<const uint8_t*>(text.data()));
  uint8_t digest[SHA256_DIGEST_SIZE];
  sha256_digest(&context, sizeof(digest), digest);
  const absl::string_view bytes(reinterpret_cast<const char*>(digest), sizeof(digest));
  return absl::StrCat(kSocketDirectory, "/", absl::BytesToHexString(bytes));
}

std::string SocketAddress(const std::string& path) { return absl::StrCat("unix://", path); }

bool IsListening(const std::string& path) { return ttrpc::ConnectUnix(path).ok(); }

absl::StatusOr<UniqueFd> ListenOn(const std::string& path) {
  RETURN_IF_ERROR(MakeDirs(kSocketDirectory, 0711));
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
