// SPDX-License-Identifier: Apache-2.0
// Makes the guest's network what a SetNetworkRequest says, in the network namespace of the io thread. What is set
// already stays untouched, so a call may be made again after one that failed half-way: the first error ends a call,
// and nothing is taken back.
//
// On the interfaces of a request go: every address that it does not name, whoever set it; permanent neighbours; and,
// on lo and on no interface (blackhole) too, the routes of RTPROT_STATIC, the protocol of those set here, and
// RTPROT_RA. Routes of other protocols stay: the kernel's own, and what the guest's programs set. Io thread only; it
// blocks for the kernel's answers, not for a device.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "agent/network/network_plan.h"
#include "proto/base/coro.h"

namespace kata::agent {

// For an interface that is being plugged in.
inline constexpr std::chrono::seconds kInterfaceTimeout{10};

struct GuestNetworkOptions {
  std::chrono::nanoseconds interface_timeout = kInterfaceTimeout;
  std::string ipv6_settings = "/proc/sys/net/ipv6";
};

class GuestNetwork {
 public:
  GuestNetwork(asio::any_io_executor executor, GuestNetworkOptions options);

  // Any number at once: they take effect one after the other, in the order of the calls.
  Co<absl::Status> Set(v1::SetNetworkRequest request);

 private:
  Co<absl::Status> SetInTurn(NetworkPlan plan);

  asio::any_io_executor executor_;
  GuestNetworkOptions options_;
  std::shared_ptr<Latch> last_;  // set when the latest call has ended
};

}  // namespace kata::agent
