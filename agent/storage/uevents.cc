// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/uevents.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

constexpr unsigned kKernelGroup = 1;
constexpr size_t kMessageSizeMax = 8192;
constexpr int kMessagesAtOnce = 64;

}  // namespace

Uevents::Uevents(asio::any_io_executor executor) : executor_(executor), socket_(executor) {}

absl::Status Uevents::Start() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  if (!fd.valid()) return SystemError(errno, "opening a socket for the kernel's events");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kKernelGroup;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return SystemError(errno, "listening to the kernel's events");
  }
  boost::system::error_code ec;
  socket_.assign(fd.get(), ec);
  if (ec) return FromErrorCode(ec, "listening to the kernel's events");
  fd.release();
  Listen();
  return absl::OkStatus();
}

void Uevents::Listen() {
  socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code ec) {
    if (ec) return;
    // Messages that were lost for want of room (ENOBUFS) are news as well. Some at a time: a storm of them must leave
    // the thread to others.
    char message[kMessageSizeMax];
    for (int i = 0; i < kMessagesAtOnce; ++i) {
      if (::recv(socket_.native_handle(), message, sizeof(message), 0) < 0) break;
    }
    for (asio::steady_timer* waiter : waiters_) waiter->cancel();
    Listen();
  });
}

Co<void> Uevents::WaitFor(std::chrono::nanoseconds timeout) {
  asio::steady_timer timer(executor_);
  timer.expires_after(timeout);
  auto at = waiters_.insert(waiters_.end(), &timer);
  co_await timer.async_wait(kTuple);
  waiters_.erase(at);
}

}  // namespace kata::agent
