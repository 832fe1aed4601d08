// SPDX-License-Identifier: Apache-2.0
// What the caller (a CNI plugin, Docker) has left in a pod's network namespace for the pod: interfaces with their
// addresses, routes and permanent neighbours, as the guest is to have them. Blocking; pool threads.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/schema/agent.pb.h"
#include "virtcontainers/network/netlink.h"

namespace kata::virtcontainers {

// More find no place on the machine's bus.
inline constexpr size_t kInterfacesMax = 16;
inline constexpr int kRoutesMax = 4096;
inline constexpr int kNextHopsMax = 128;  // of one route
inline constexpr int kNeighboursMax = 4096;

struct PodInterface {
  int index = 0;  // in the namespace
  std::string name;
  std::string mac;  // aa:bb:cc:dd:ee:ff
  uint32_t mtu = 0;
};

struct PodNetwork {
  std::vector<PodInterface> interfaces;
  agent::v1::SetNetworkRequest for_guest;  // the same interfaces, with what belongs to them
  std::string other_owner;                 // another sandbox that has a tap here; empty: none
  absl::Status problem;                    // the first interface that cannot be carried, and is left out
};

// Of the namespace of `socket`, for sandbox `owner`. Interfaces that are down are not the pod's yet (but those that
// `was_carried`, by their indices), loopback is the guest's own, sandboxes' taps are not the pod's, and what the
// kernel makes by itself (an unused tunnel, a route of an address) is left out. `problem`, or the result where it is a
// route or a neighbour: InvalidArgument with the name of what cannot be carried.
absl::StatusOr<PodNetwork> ReadPodNetwork(nl_sock* socket, const std::string& owner,
                                          const std::function<bool(int)>& was_carried);

// Takes these interfaces out of `request`, with what belongs to them.
void LeaveOut(const std::set<std::string>& interfaces, agent::v1::SetNetworkRequest& request);

}  // namespace kata::virtcontainers
