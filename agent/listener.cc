// SPDX-License-Identifier: Apache-2.0
#include "agent/listener.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <utility>

#include <absl/strings/ascii.h>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "agent/base/errors.h"
#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/ttrpc/connection.h"
#include "proto/ttrpc/session.h"

namespace kata::agent {
namespace {

constexpr std::chrono::milliseconds kPortPoll{10};
constexpr int kPortAppearsTries = 500;
constexpr int kVsockBacklog = 8;
constexpr int kReadyTries = 100;
// After accept has failed for want of descriptors or memory: the connection still waits.
constexpr std::chrono::milliseconds kAcceptPause{100};

// The port says hang-up as long as no host end is connected.
bool HostIsConnected(int fd) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, 0) >= 0 && (entry.revents & POLLHUP) == 0;
}

Co<absl::Status> ServeOne(Service* service, std::unique_ptr<ttrpc::Transport> transport, const ttrpc::ServiceMap* map) {
  auto executor = co_await asio::this_coro::executor;
  service->ConnectionStarts();
  auto connection = ttrpc::Connection::Start(executor, std::move(transport), map);
  absl::Status reason = co_await connection->WaitClosed();
  log::Debug("connection closed: {}", std::string(reason.message()));
  co_return absl::OkStatus();
}

sockaddr_vm VsockAddress(unsigned cid, uint32_t port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

Co<absl::Status> ConnectOnce(uint32_t port) {
  auto executor = co_await asio::this_coro::executor;
  const int raw = ::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (raw < 0) co_return SystemError(errno, "opening a vsock socket");
  asio::posix::stream_descriptor socket(executor, raw);
  const sockaddr_vm host = VsockAddress(VMADDR_CID_HOST, port);
  if (::connect(raw, reinterpret_cast<const sockaddr*>(&host), sizeof(host)) != 0 && errno != EINPROGRESS) {
    co_return SystemError(errno, absl::StrCat("connecting to the host's vsock port ", port));
  }
  // The kernel has a time limit for it.
  auto [ec] = co_await socket.async_wait(asio::posix::stream_descriptor::wait_write, kTuple);
  if (ec) co_return FromErrorCode(ec, "waiting for the host");
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(raw, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) co_return absl::OkStatus();
  co_return SystemError(error, absl::StrCat("connecting to the host's vsock port ", port));
}

// Nothing is sent: that the connection comes is the word.
Co<absl::Status> SayReady(uint32_t port) {
  absl::Status status;
  for (int i = 0; i < kReadyTries; ++i) {
    status = co_await ConnectOnce(port);
    if (status.ok()) break;
    co_await Sleep(kPortPoll);
  }
  co_return status;
}

}  // namespace

absl::StatusOr<std::string> FindVirtioPort(const std::string& sys_class, const std::string& name) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(sys_class.c_str()), ::closedir);
  if (dir == nullptr) return ErrnoStatus(errno, absl::StrCat("opening \"", sys_class, "\""));
  while (dirent* entry = ::readdir(dir.get())) {
    auto text = ReadFile(absl::StrCat(sys_class, "/", entry->d_name, "/name"), 4096);
    if (text.ok() && absl::StripAsciiWhitespace(*text) == name) return absl::StrCat("/dev/", entry->d_name);
  }
  return absl::NotFoundError(absl::StrCat("virtio port \"", name, "\": not found"));
}

Co<absl::Status> ServeVirtioPort(Service* service) {
  absl::StatusOr<std::string> path = FindVirtioPort("/sys/class/virtio-ports", kPortName);
  for (int i = 0; !path.ok() && i < kPortAppearsTries; ++i) {
    co_await Sleep(kPortPoll);
    path = FindVirtioPort("/sys/class/virtio-ports", kPortName);
  }
  if (!path.ok()) co_return path.status();
  // Kept open for ever: closing the port would throw away what the host has already sent.
  UniqueFd port(::open(path->c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!port.valid()) co_return SystemError(errno, absl::StrCat("opening \"", *path, "\""));
  auto executor = co_await asio::this_coro::executor;
  ttrpc::SessionAcceptor sessions;
  ttrpc::ServiceMap map;
  service->Register(map);
  for (;;) {
    while (!HostIsConnected(port.get())) co_await Sleep(kPortPoll);
    UniqueFd copy(::fcntl(port.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy.valid()) co_return SystemError(errno, "duplicating the port's descriptor");
    auto channel = ttrpc::MakeFdTransport(executor, std::move(copy));
    auto session = co_await sessions.Accept(std::move(channel));
    if (!session.ok()) {
      log::Debug("waiting for a session: {}", std::string(session.status().message()));
      co_await Sleep(kPortPoll);
      continue;
    }
    CO_RETURN_IF_ERROR(co_await ServeOne(service, *std::move(session), &map));
  }
}

Co<absl::Status> ServeVsock(Service* service, uint32_t port, uint32_t ready_port) {
  auto executor = co_await asio::this_coro::executor;
  const int raw = ::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (raw < 0) co_return SystemError(errno, "opening a vsock socket");
  asio::posix::stream_descriptor listening(executor, raw);
  const sockaddr_vm address = VsockAddress(VMADDR_CID_ANY, port);
  if (::bind(raw, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(raw, kVsockBacklog) != 0) {
    co_return SystemError(errno, absl::StrCat("listening on vsock port ", port));
  }
  if (ready_port != 0) Spawn(executor, "saying that the agent listens", SayReady(ready_port));
  ttrpc::ServiceMap map;
  service->Register(map);
  for (;;) {
    auto [ec] = co_await listening.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
    if (ec) co_return FromErrorCode(ec, "waiting for a vsock connection");
    sockaddr_vm peer{};
    socklen_t size = sizeof(peer);
    UniqueFd fd(::accept4(raw, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const int error = fd.valid() ? 0 : errno;
    const bool is_nobody = error == EAGAIN || error == EINTR || error == ECONNABORTED;
    if (error != 0 && !is_nobody) {
      log::Warn("{}", ErrnoStatus(error, "accepting a vsock connection").message());
      co_await Sleep(kAcceptPause);
    }
    // With a loopback, which the guest's kernel does not have, containers would reach the port too.
    if (!fd.valid() || peer.svm_cid != VMADDR_CID_HOST) continue;
    auto transport = ttrpc::MakeFdTransport(executor, std::move(fd));
    CO_RETURN_IF_ERROR(co_await ServeOne(service, std::move(transport), &map));
  }
}

}  // namespace kata::agent
