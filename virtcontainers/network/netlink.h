// SPDX-License-Identifier: Apache-2.0
// libnl's objects with owners. A socket speaks to the network namespace that it was opened in, from any thread.
#pragma once

#include <memory>
#include <string>

#include <absl/status/statusor.h>
#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {

template <auto kFree>
struct NetlinkFree {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using NetlinkSocket = std::unique_ptr<nl_sock, NetlinkFree<nl_socket_free>>;
using NetlinkCache = std::unique_ptr<nl_cache, NetlinkFree<nl_cache_free>>;

// A failed call of libnl, which returns its own numbers, below 0.
absl::Status NetlinkStatus(int error, const std::string& what);

// Of the calling thread's network namespace.
absl::StatusOr<NetlinkSocket> OpenNetlink();

// Address alone, without its prefix length; empty for null.
std::string AddressText(nl_addr* address);

}  // namespace kata::virtcontainers
