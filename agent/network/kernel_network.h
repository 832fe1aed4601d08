// SPDX-License-Identifier: Apache-2.0
// What the kernel has of links, addresses, routes and neighbours, and single changes of it, in the values of a plan.
// Errors name what was to be changed. One thread at a time; blocks for as long as the kernel needs, see Netlink.
#pragma once

#include <netlink/route/link.h>

#include <map>
#include <string>
#include <vector>

#include "agent/network/netlink.h"
#include "agent/network/network_plan.h"

namespace kata::agent {

struct Link {
  int index = 0;
  std::string name;
  std::string mac;
  uint32_t mtu = 0;
  bool is_up = false;
};

// The protocol of the routes that SetNetwork sets is RTPROT_STATIC. What routers announced has no place beside what
// the host says; of other protocols are the kernel's own routes and those of the guest's programs, which stay.
bool IsOfSetNetwork(int route_protocol);

class KernelNetwork {
 public:
  static absl::StatusOr<KernelNetwork> Open();

  // By index.
  absl::StatusOr<std::vector<Link>> Links();
  // `new_name` is another's: already exists.
  absl::Status Rename(const Link& link, const std::string& new_name);
  absl::Status SetMtu(const Link& link, uint32_t mtu);
  absl::Status SetUp(const Link& link, bool is_up);

  absl::StatusOr<std::vector<InterfaceAddress>> Addresses(const Link& link);
  // At once usable; one that is there is fine.
  absl::Status Add(const Link& link, const InterfaceAddress& address);
  // One that went meanwhile is fine.
  absl::Status Remove(const Link& link, const InterfaceAddress& address);

  using Indices = std::map<std::string, int>;  // of interfaces by name
  // Those of IsOfSetNetwork on `interfaces` or on none.
  absl::StatusOr<std::vector<Route>> Routes(const Indices& interfaces);
  // `is_alone`: takes the place of one with the same key; else is put beside it.
  absl::Status Add(const Indices& interfaces, const Route& route, bool is_alone);
  absl::Status Remove(const Indices& interfaces, const Route& route);

  // The permanent ones on `interfaces`.
  absl::StatusOr<std::vector<Neighbour>> Neighbours(const Indices& interfaces);
  absl::Status Set(const Indices& interfaces, const Neighbour& neighbour);
  absl::Status Remove(const Indices& interfaces, const Neighbour& neighbour);

 private:
  explicit KernelNetwork(Netlink netlink) : netlink_(std::move(netlink)) {}
  absl::Status Change(const Link& link, rtnl_link* changes, absl::string_view what,
                      std::initializer_list<int> allowed = {});

  Netlink netlink_;
};

}  // namespace kata::agent
