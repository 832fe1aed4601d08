// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/transport.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "proto/base/status.h"

namespace kata::ttrpc {
namespace {

// Operations that may succeed without waiting before the other coroutines of the thread get their
// turn.
constexpr unsigned kTurnsMax = 16;

bool IsSocket(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

// Tries the system call first and waits for readiness only after EAGAIN. Each wait re-arms epoll,
// which looks at the descriptor's state anew: an edge that a driver did not report is not lost.
class FdTransport : public Transport {
 public:
  FdTransport(asio::any_io_executor executor, UniqueFd fd)
      : is_socket_(IsSocket(fd.get())), descriptor_(std::move(executor)) {
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
    boost::system::error_code ec;
    descriptor_.assign(fd.get(), ec);
    if (ec) {
      open_error_ = FromErrorCode(ec, "watching the descriptor");
    } else {
      static_cast<void>(fd.release());
    }
  }
  ~FdTransport() override { Close(); }

  Co<absl::StatusOr<size_t>> ReadSome(std::span<char> buffer) override {
    CO_RETURN_IF_ERROR(open_error_);
    co_await TakeTurn();
    for (;;) {
      if (!descriptor_.is_open()) co_return absl::CancelledError("reading: closed");
      const ssize_t n = ::read(descriptor_.native_handle(), buffer.data(), buffer.size());
      if (n > 0) co_return static_cast<size_t>(n);
      // A virtio port reads 0 while the host is away: what had come of a frame is cut there, so it
      // is the end.
      if (n == 0) co_return absl::UnavailableError("reading: end of stream");
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return PeerStatus(errno, "reading");
      turns_ = 0;
      auto [ec] = co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
      if (ec) co_return FromErrorCode(ec, "reading");
    }
  }

  Co<absl::Status> WriteAll(std::string_view data) override {
    CO_RETURN_IF_ERROR(open_error_);
    while (!data.empty()) {
      if (!descriptor_.is_open()) co_return absl::CancelledError("writing: closed");
      const ssize_t n = WriteOnce(data);
      if (n >= 0) {
        data.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return PeerStatus(errno, "writing");
      auto [ec] = co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_write, kTuple);
      if (ec) co_return FromErrorCode(ec, "writing");
    }
    co_return absl::OkStatus();
  }

  void CloseWrite() override {
    if (is_socket_ && descriptor_.is_open()) ::shutdown(descriptor_.native_handle(), SHUT_WR);
  }

  void Close() override {
    if (!descriptor_.is_open()) return;
    // Tells the peer even when another process holds a copy of the socket.
    if (is_socket_) ::shutdown(descriptor_.native_handle(), SHUT_RDWR);
    boost::system::error_code ignored;
    descriptor_.close(ignored);
  }

 private:
  // A socket must not raise SIGPIPE; a process that passes a pipe ignores that signal itself.
  ssize_t WriteOnce(std::string_view data) {
    const int fd = descriptor_.native_handle();
    if (is_socket_) return ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    return ::write(fd, data.data(), data.size());
  }

  static absl::Status PeerStatus(int error, absl::string_view what) {
    if (error == EPIPE || error == ECONNRESET || error == ENODEV) {
      return absl::UnavailableError(absl::StrCat(what, ": ", ErrnoStatus(error, "the peer is gone").message()));
    }
    return ErrnoStatus(error, what);
  }

  Co<void> TakeTurn() {
    if (++turns_ < kTurnsMax) co_return;
    turns_ = 0;
    co_await asio::post(descriptor_.get_executor(), asio::use_awaitable);
  }

  const bool is_socket_;
  absl::Status open_error_;
  unsigned turns_ = 0;
  asio::posix::stream_descriptor descriptor_;
};

}  // namespace

std::unique_ptr<Transport> MakeFdTransport(asio::any_io_executor executor, UniqueFd fd) {
  return std::make_unique<FdTransport>(std::move(executor), std::move(fd));
}

absl::StatusOr<UniqueFd> ConnectUnix(const std::string& path) {
  std::string name = path;
  if (!name.empty() && name[0] != '\0' && name.find('/') == std::string::npos) name.insert(0, 1, '\0');
  const std::string what =
      absl::StrCat("connecting to \"", !name.empty() && name[0] == '\0' ? "@" + name.substr(1) : name, "\"");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.empty() || name.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": bad length of a socket path"));
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, what);
  // The length tells an abstract name's end; a path ends at its NUL.
  const size_t terminator = name[0] == '\0' ? 0 : 1;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + terminator);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) return ErrnoStatus(errno, what);
  return fd;
}

}  // namespace kata::ttrpc
