// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/vsock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
// After sys/socket.h, which it needs.
#include <linux/vm_sockets.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>

#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr char kDevice[] = "/dev/vhost-vsock";
constexpr size_t kAnswerMax = 32;  // "OK 4294967295\n"

absl::Status SetTimeouts(int fd, std::chrono::milliseconds timeout, absl::string_view what) {
  timeval value{};
  value.tv_sec = static_cast<time_t>(timeout.count() / 1000);
  value.tv_usec = static_cast<suseconds_t>(timeout.count() % 1000 * 1000);
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof(value)) != 0 ||
      ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof(value)) != 0) {
    return ErrnoStatus(errno, what);
  }
  return absl::OkStatus();
}

// Byte by byte: what follows the line belongs to the stream.
absl::StatusOr<std::string> ReadLine(int fd, absl::string_view what) {
  std::string line;
  char c = 0;
  while (line.size() < kAnswerMax) {
    const ssize_t n = ::recv(fd, &c, 1, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return absl::UnavailableError(absl::StrCat(what, ": no answer"));
    if (c == '\n') return line;
    line.push_back(c);
  }
  return absl::UnavailableError(absl::StrCat(what, ": the answer is no line"));
}

absl::Status CheckListener(int fd, uid_t uid, absl::string_view what) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return ErrnoStatus(errno, what);
  if (peer.uid == uid) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(what, ": user ", peer.uid, " listens there, not ", uid));
}

}  // namespace

absl::Status CheckVhostVsock() {
  UniqueFd fd(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (fd.valid()) return absl::OkStatus();
  const absl::Status status = ErrnoStatus(errno, absl::StrCat("opening \"", kDevice, "\""));
  return absl::Status(status.code(),
                      absl::StrCat(status.message(), "; modprobe vhost_vsock, or set agent_transport = \"auto\""));
}

absl::StatusOr<UniqueFd> ConnectVsock(uint32_t cid, uint32_t port, std::chrono::milliseconds timeout) {
  const std::string what = absl::StrCat("connect to vsock port ", port, " of machine ", cid);
  UniqueFd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, what);
  RETURN_IF_ERROR(SetTimeouts(fd.get(), timeout, what));
  // It has one of its own for the connection, 2 s else.
  timeval connect_timeout{};
  connect_timeout.tv_sec = static_cast<time_t>(timeout.count() / 1000);
  connect_timeout.tv_usec = static_cast<suseconds_t>(timeout.count() % 1000 * 1000);
  if (::setsockopt(fd.get(), AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &connect_timeout, sizeof(connect_timeout)) != 0) {
    return ErrnoStatus(errno, what);
  }
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::UnavailableError(ErrnoStatus(errno, what).message());
  }
  RETURN_IF_ERROR(SetTimeouts(fd.get(), std::chrono::milliseconds(0), what));
  return fd;
}

absl::Status WaitForReady(int ready, std::chrono::milliseconds timeout) {
  pollfd entry{.fd = ready, .events = POLLIN, .revents = 0};
  if (::poll(&entry, 1, static_cast<int>(timeout.count())) == 1 && (entry.revents & POLLIN) != 0)
    return absl::OkStatus();
  return absl::UnavailableError("the agent has not said that it listens");
}

absl::StatusOr<UniqueFd> ConnectVhostUserVsock(const std::string& path, uint32_t port, uid_t uid,
                                               std::chrono::milliseconds timeout) {
  const std::string what = absl::StrCat("connect to vsock port ", port, " through \"", path, "\"");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return ErrnoStatus(ENAMETOOLONG, what);
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, what);
  RETURN_IF_ERROR(SetTimeouts(fd.get(), timeout, what));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, what);
  }
  RETURN_IF_ERROR(CheckListener(fd.get(), uid, what));
  const std::string request = absl::StrCat("CONNECT ", port, "\n");
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    return absl::UnavailableError(absl::StrCat(what, ": the request was not taken"));
  }
  ASSIGN_OR_RETURN(const std::string answer, ReadLine(fd.get(), what));
  if (!absl::StartsWith(answer, "OK ")) return absl::UnavailableError(absl::StrCat(what, ": it was not accepted"));
  RETURN_IF_ERROR(SetTimeouts(fd.get(), std::chrono::milliseconds(0), what));
  return fd;
}

absl::StatusOr<uint32_t> VsockCidOf(const std::string& domain_xml) {
  std::unique_ptr<xmlDoc, decltype(&xmlFreeDoc)> document(
      xmlReadMemory(domain_xml.data(), static_cast<int>(domain_xml.size()), nullptr, nullptr,
                    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING),
      &xmlFreeDoc);
  uint32_t cid = 0;
  if (document != nullptr) {
    std::unique_ptr<xmlXPathContext, decltype(&xmlXPathFreeContext)> context(xmlXPathNewContext(document.get()),
                                                                             &xmlXPathFreeContext);
    const auto* path = reinterpret_cast<const xmlChar*>("string(/domain/devices/vsock/cid/@address)");
    std::unique_ptr<xmlXPathObject, decltype(&xmlXPathFreeObject)> found(
        context == nullptr ? nullptr : xmlXPathEvalExpression(path, context.get()), &xmlXPathFreeObject);
    if (found != nullptr && found->stringval != nullptr &&
        absl::SimpleAtoi(reinterpret_cast<const char*>(found->stringval), &cid)) {
      return cid;
    }
  }
  return absl::InternalError("find the machine's vsock address: its document has none");
}

}  // namespace kata::hypervisors
