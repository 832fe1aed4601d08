// SPDX-License-Identifier: Apache-2.0
// A SetNetworkRequest, checked, as plain values in the form in which the kernel tells them, so that what is wanted
// compares with what there is. Pure: asks the kernel nothing. Any thread.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/schema/agent.pb.h"

namespace kata::agent {

inline constexpr int kInterfacesMax = 32;    // of one request
inline constexpr int kAddressesMax = 1024;   // of one interface
inline constexpr int kRoutesMax = 4096;      // of one request
inline constexpr int kNextHopsMax = 128;     // of one route
inline constexpr int kNeighboursMax = 4096;  // of one request
inline constexpr size_t kMacSize = 6;
inline constexpr char kLoopback[] = "lo";

struct IpAddress {
  int family = 0;  // AF_INET, AF_INET6; 0 = none
  std::array<uint8_t, 16> bytes{};

  bool is_set() const { return family != 0; }
  uint32_t bits() const;
  size_t size() const { return bits() / 8; }
  std::string Text() const;
  // With all after the first `prefix_length` bits zero.
  IpAddress Network(uint32_t prefix_length) const;
  auto operator<=>(const IpAddress&) const = default;
};

// Neither host names nor zones. False when it is none.
bool ParseIp(const std::string& text, IpAddress& out);

struct InterfaceAddress {
  IpAddress address;
  uint32_t prefix_length = 0;
  IpAddress broadcast;
  IpAddress peer;
  uint32_t scope = 0;  // of IPv4; the other's is in the address
  // A later one of the same IPv4 network: the kernel removes it with the first, whose is the source of what is sent.
  bool is_secondary = false;
  bool has_no_route = false;  // to its network, by the kernel

  std::string Text() const;
  auto operator<=>(const InterfaceAddress&) const = default;
};

struct NextHop {
  std::string interface;
  IpAddress gateway;  // of an IPv4 route also one of IPv6
  bool is_onlink = false;
  uint32_t weight = 0;  // less 1

  auto operator<=>(const NextHop&) const = default;
};

struct Route {
  int family = 0;
  IpAddress destination;  // always set
  uint32_t prefix_length = 0;
  uint32_t table = 0;
  uint32_t metric = 0;
  uint32_t type = 0;
  std::vector<NextHop> hops;  // sorted; none for a type that needs none
  IpAddress source;
  uint32_t scope = 0;
  uint32_t mtu = 0;

  std::string Text() const;
  std::string InterfaceText() const;
  // Of the same key the kernel keeps several only if they are appended.
  bool HasKeyOf(const Route& other) const;
  auto operator<=>(const Route&) const = default;
};

// Whether packets of such a route go nowhere (blackhole and its kind).
bool NeedsNoInterface(uint32_t route_type);
// What the kernel makes of a route's numbers that leave it the choice, and of the order of its hops.
void Normalize(Route& route);

struct Neighbour {
  std::string interface;
  IpAddress address;
  std::string mac;

  auto operator<=>(const Neighbour&) const = default;
};

struct Interface {
  std::string mac;
  std::string name;
  uint32_t mtu = 0;  // 0 = leave it
  bool is_up = false;
  std::vector<InterfaceAddress> addresses;
};

struct NetworkPlan {
  std::vector<Interface> interfaces;
  std::vector<Route> routes;
  std::vector<Neighbour> neighbours;
};

std::string MacText(const std::string& mac);

// InvalidArgument names the field and its value.
absl::StatusOr<NetworkPlan> PlanNetwork(const v1::SetNetworkRequest& request);

}  // namespace kata::agent
