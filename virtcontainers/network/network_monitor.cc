// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/network_monitor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

// Not the neighbours: the kernel itself changes those all the time.
constexpr uint32_t kGroups =
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
constexpr size_t kMessageKept = 64;  // bytes; what a message says is not looked at

}  // namespace

absl::StatusOr<NetworkMonitor> NetworkMonitor::Open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd.valid()) return ErrnoStatus(errno, "opening netlink");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kGroups;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return ErrnoStatus(errno, "listening for changes of the network");
  return NetworkMonitor(std::move(fd));
}

bool NetworkMonitor::TakeNews() {
  bool has_news = false;
  std::array<char, kMessageKept> message{};
  for (;;) {
    if (::recv(fd_.get(), message.data(), message.size(), 0) >= 0) {
      has_news = true;
      continue;
    }
    // Some were lost (ENOBUFS): news as well.
    if (errno == EAGAIN) return has_news;
    has_news = true;
    if (errno != EINTR && errno != ENOBUFS) return has_news;
  }
}

}  // namespace kata::virtcontainers
