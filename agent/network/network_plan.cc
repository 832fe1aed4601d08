// SPDX-License-Identifier: Apache-2.0
#include "agent/network/network_plan.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <absl/strings/escaping.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata::agent {
namespace {

// What the kernel gives a route of IPv6 without a metric (IP6_RT_PRIO_USER).
constexpr uint32_t kIpv6Metric = 1024;
constexpr uint32_t kByteMax = 255;

absl::Status Refuse(absl::string_view field, absl::string_view value, absl::string_view cause) {
  return absl::InvalidArgumentError(absl::StrCat(field, " \"", absl::CEscape(value), "\": ", cause));
}

std::string Element(absl::string_view list, int index, absl::string_view field) {
  return absl::StrCat(list, "[", index, "].", field);
}

absl::Status CheckCount(absl::string_view field, int count, int count_max) {
  if (count <= count_max) return absl::OkStatus();
  return Refuse(field, absl::StrCat(count), absl::StrCat("at most ", count_max));
}

absl::Status CheckByte(absl::string_view field, uint32_t value) {
  return value <= kByteMax ? absl::OkStatus() : Refuse(field, absl::StrCat(value), "above 255");
}

absl::Status CheckMac(absl::string_view field, const std::string& mac) {
  return mac.size() == kMacSize ? absl::OkStatus() : Refuse(field, MacText(mac), "not of 6 bytes");
}

// As the kernel wants it, and no pattern (%) that it would fill in.
absl::Status CheckName(absl::string_view field, const std::string& name) {
  bool is_good = !name.empty() && name.size() < IFNAMSIZ && name != "." && name != "..";
  for (char c : name) is_good = is_good && c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%';
  if (!is_good) return Refuse(field, name, "no name for an interface");
  return name != kLoopback ? absl::OkStatus() : Refuse(field, name, "the loopback interface's");
}

// `family` 0: either.
absl::StatusOr<IpAddress> ToIp(absl::string_view field, const std::string& text, int family) {
  IpAddress address;
  if (!ParseIp(text, address)) return Refuse(field, text, "not an IP address");
  if (family != 0 && address.family != family) return Refuse(field, text, "of another family");
  return address;
}

absl::StatusOr<IpAddress> ToIpIfGiven(absl::string_view field, const std::string& text, int family) {
  if (text.empty()) return IpAddress();
  return ToIp(field, text, family);
}

absl::StatusOr<InterfaceAddress> PlanAddress(const std::string& field, const v1::NetworkAddress& from) {
  InterfaceAddress out;
  ASSIGN_OR_RETURN(out.address, ToIp(field + ".address", from.address(), 0));
  const int family = out.address.family;
  out.prefix_length = from.prefix_length();
  if (out.prefix_length > out.address.bits()) {
    return Refuse(field + ".prefix_length", absl::StrCat(from.prefix_length()), "too long");
  }
  ASSIGN_OR_RETURN(out.broadcast, ToIpIfGiven(field + ".broadcast", from.broadcast(), family));
  if (out.broadcast.is_set() && family != AF_INET) {
    return Refuse(field + ".broadcast", from.broadcast(), "IPv6 has none");
  }
  ASSIGN_OR_RETURN(out.peer, ToIpIfGiven(field + ".peer", from.peer(), family));
  if (out.peer == out.address) out.peer = IpAddress();  // which is how the kernel tells none
  RETURN_IF_ERROR(CheckByte(field + ".scope", from.scope()));
  if (family == AF_INET) out.scope = from.scope();
  out.has_no_route = from.has_no_route();
  return out;
}

IpAddress NetworkOf(const InterfaceAddress& of) {
  return (of.peer.is_set() ? of.peer : of.address).Network(of.prefix_length);
}

bool IsSecondaryTo(const InterfaceAddress& address, const InterfaceAddress& earlier) {
  return address.address.family == AF_INET && earlier.address.family == AF_INET &&
         address.prefix_length == earlier.prefix_length && NetworkOf(address) == NetworkOf(earlier);
}

absl::StatusOr<Interface> PlanInterface(int index, const v1::NetworkInterface& from) {
  Interface out{.mac = from.mac(), .name = from.name(), .mtu = from.mtu(), .is_up = from.is_up(), .addresses = {}};
  RETURN_IF_ERROR(CheckMac(Element("interfaces", index, "mac"), out.mac));
  RETURN_IF_ERROR(CheckName(Element("interfaces", index, "name"), out.name));
  const std::string field = Element("interfaces", index, "addresses");
  RETURN_IF_ERROR(CheckCount(field, from.addresses_size(), kAddressesMax));
  for (int i = 0; i < from.addresses_size(); ++i) {
    const std::string element = absl::StrCat(field, "[", i, "]");
    ASSIGN_OR_RETURN(InterfaceAddress address, PlanAddress(element, from.addresses(i)));
    for (const InterfaceAddress& earlier : out.addresses) {
      // The peer is part of an IPv4 address's name, and of no other's.
      if (earlier.address == address.address &&
          (address.address.family == AF_INET6 || IsSecondaryTo(address, earlier))) {
        return Refuse(element + ".address", from.addresses(i).address(), "twice");
      }
      address.is_secondary = address.is_secondary || IsSecondaryTo(address, earlier);
    }
    out.addresses.push_back(address);
  }
  return out;
}

absl::Status CheckDestination(const std::string& field, const v1::NetworkRoute& from, Route& out) {
  out.destination.family = out.family;
  out.prefix_length = from.prefix_length();
  const uint32_t bits = from.destination().empty() ? 0 : out.destination.bits();
  if (out.prefix_length > bits) {
    return Refuse(field + "prefix_length", absl::StrCat(from.prefix_length()), "too long");
  }
  if (from.destination().empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(out.destination, ToIp(field + "destination", from.destination(), out.family));
  if (out.destination != out.destination.Network(out.prefix_length)) {
    return Refuse(field + "destination", from.destination(),
                  absl::StrCat("has bits set beyond its prefix length ", out.prefix_length));
  }
  return absl::OkStatus();
}

absl::Status CheckInterface(absl::string_view field, const std::string& name, const std::set<std::string>& names) {
  if (names.count(name) != 0 || name == kLoopback) return absl::OkStatus();
  return Refuse(field, name, "not one of the request's interfaces");
}

absl::StatusOr<NextHop> PlanHop(const std::string& field, int family, const v1::NetworkNextHop& from,
                                const std::set<std::string>& names) {
  NextHop out{.interface = from.interface(), .gateway = {}, .is_onlink = from.is_onlink(), .weight = from.weight()};
  // IPv4 packets may go to a neighbour that has an IPv6 address only, and not the other way round.
  ASSIGN_OR_RETURN(out.gateway, ToIpIfGiven(field + "gateway", from.gateway(), family == AF_INET ? 0 : family));
  RETURN_IF_ERROR(CheckInterface(field + "interface", from.interface(), names));
  RETURN_IF_ERROR(CheckByte(field + "weight", from.weight()));
  return out;
}

absl::Status PlanHops(const std::string& field, const v1::NetworkRoute& from, const std::set<std::string>& names,
                      Route& out) {
  RETURN_IF_ERROR(CheckCount(field + "next_hops", from.next_hops_size(), kNextHopsMax));
  for (int i = 0; i < from.next_hops_size(); ++i) {
    const std::string element = absl::StrCat(field, "next_hops[", i, "].");
    ASSIGN_OR_RETURN(NextHop hop, PlanHop(element, out.family, from.next_hops(i), names));
    out.hops.push_back(std::move(hop));
  }
  if (from.next_hops_size() > 0) return absl::OkStatus();
  if (from.interface().empty() && NeedsNoInterface(from.type())) return absl::OkStatus();
  v1::NetworkNextHop only;
  only.set_gateway(from.gateway());
  only.set_interface(from.interface());
  only.set_is_onlink(from.is_onlink());
  ASSIGN_OR_RETURN(NextHop hop, PlanHop(field, out.family, only, names));
  out.hops.push_back(std::move(hop));
  return absl::OkStatus();
}

using RouteKey = std::tuple<IpAddress, uint32_t, uint32_t, uint32_t>;

// The kernel makes one route of IPv6 routes of one key that have gateways. `merged` has where those are.
void AddRoute(Route route, std::vector<Route>& routes, std::map<RouteKey, size_t>& merged) {
  const auto has_gateway = [](const NextHop& hop) { return hop.gateway.is_set(); };
  if (route.family == AF_INET6 && !route.hops.empty() &&
      std::all_of(route.hops.begin(), route.hops.end(), has_gateway)) {
    const RouteKey key(route.destination, route.prefix_length, route.table, route.metric);
    const auto [at, is_first] = merged.emplace(key, routes.size());
    if (!is_first) {
      Route& other = routes[at->second];
      other.hops.insert(other.hops.end(), route.hops.begin(), route.hops.end());
      Normalize(other);
      return;
    }
  }
  routes.push_back(std::move(route));
}

absl::StatusOr<Route> PlanRoute(int index, const v1::NetworkRoute& from, const std::set<std::string>& names) {
  const std::string field = Element("routes", index, "");
  Route out;
  if (from.family() != AF_INET && from.family() != AF_INET6) {
    return Refuse(field + "family", absl::StrCat(from.family()), "neither AF_INET nor AF_INET6");
  }
  out.family = static_cast<int>(from.family());
  RETURN_IF_ERROR(CheckDestination(field, from, out));
  ASSIGN_OR_RETURN(out.source, ToIpIfGiven(field + "source", from.source(), out.family));
  RETURN_IF_ERROR(CheckByte(field + "scope", from.scope()));
  if (from.type() == RTN_UNSPEC || from.type() > RTN_MAX) {
    return Refuse(field + "type", absl::StrCat(from.type()), "not known");
  }
  RETURN_IF_ERROR(PlanHops(field, from, names, out));
  out.table = from.table();
  out.metric = from.metric();
  out.type = from.type();
  out.scope = from.scope();
  out.mtu = from.mtu();
  Normalize(out);
  return out;
}

absl::StatusOr<Neighbour> PlanNeighbour(int index, const v1::NetworkNeighbour& from,
                                        const std::set<std::string>& names) {
  const std::string field = Element("neighbours", index, "");
  Neighbour out{.interface = from.interface(), .address = {}, .mac = from.mac()};
  ASSIGN_OR_RETURN(out.address, ToIp(field + "address", from.address(), 0));
  RETURN_IF_ERROR(CheckInterface(field + "interface", from.interface(), names));
  RETURN_IF_ERROR(CheckMac(field + "mac", from.mac()));
  return out;
}

}  // namespace

uint32_t IpAddress::bits() const { return family == AF_INET ? 32 : family == AF_INET6 ? 128 : 0; }

std::string IpAddress::Text() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_set()) ::inet_ntop(family, bytes.data(), text, sizeof(text));
  return text;
}

IpAddress IpAddress::Network(uint32_t prefix_length) const {
  IpAddress out = *this;
  for (uint32_t i = prefix_length; i < bits(); ++i) out.bytes[i / 8] &= static_cast<uint8_t>(~(0x80u >> (i % 8)));
  return out;
}

bool ParseIp(const std::string& text, IpAddress& out) {
  out = IpAddress();
  // inet_pton sees only what is before a zero byte.
  if (text.find('\0') != std::string::npos) return false;
  for (int family : {AF_INET, AF_INET6}) {
    if (::inet_pton(family, text.c_str(), out.bytes.data()) != 1) continue;
    out.family = family;
    return true;
  }
  out = IpAddress();
  return false;
}

std::string InterfaceAddress::Text() const {
  return absl::StrCat(address.Text(), peer.is_set() ? " peer " : "", peer.Text(), "/", prefix_length);
}

std::string Route::Text() const {
  std::string out = prefix_length == 0 ? "default" : absl::StrCat(destination.Text(), "/", prefix_length);
  const char* before = " via ";
  for (const NextHop& hop : hops) {
    if (hop.gateway.is_set()) absl::StrAppend(&out, std::exchange(before, ", "), hop.gateway.Text());
  }
  return out;
}

std::string Route::InterfaceText() const {
  std::string out;
  for (const NextHop& hop : hops) {
    if (!absl::StrContains(out, hop.interface)) absl::StrAppend(&out, out.empty() ? "" : ", ", hop.interface);
  }
  return out;
}

bool Route::HasKeyOf(const Route& other) const {
  return destination == other.destination && prefix_length == other.prefix_length && table == other.table &&
         metric == other.metric;
}

bool NeedsNoInterface(uint32_t route_type) {
  return route_type == RTN_BLACKHOLE || route_type == RTN_UNREACHABLE || route_type == RTN_PROHIBIT ||
         route_type == RTN_THROW;
}

void Normalize(Route& route) {
  if (route.table == RT_TABLE_UNSPEC) route.table = RT_TABLE_MAIN;
  // IPv6 tells them as lo's.
  if (NeedsNoInterface(route.type)) route.hops.clear();
  std::sort(route.hops.begin(), route.hops.end());
  if (route.hops.size() == 1) route.hops[0].weight = 0;
  if (route.family != AF_INET6) return;
  if (route.metric == 0) route.metric = kIpv6Metric;
  route.scope = RT_SCOPE_UNIVERSE;
}

std::string MacText(const std::string& mac) {
  std::string out;
  for (char c : mac) absl::StrAppend(&out, out.empty() ? "" : ":", absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
  return out;
}

absl::StatusOr<NetworkPlan> PlanNetwork(const v1::SetNetworkRequest& request) {
  RETURN_IF_ERROR(CheckCount("interfaces", request.interfaces_size(), kInterfacesMax));
  RETURN_IF_ERROR(CheckCount("routes", request.routes_size(), kRoutesMax));
  RETURN_IF_ERROR(CheckCount("neighbours", request.neighbours_size(), kNeighboursMax));
  NetworkPlan out;
  std::set<std::string> names;
  std::set<std::string> macs;
  for (int i = 0; i < request.interfaces_size(); ++i) {
    ASSIGN_OR_RETURN(Interface interface, PlanInterface(i, request.interfaces(i)));
    if (!macs.insert(interface.mac).second) {
      return Refuse(Element("interfaces", i, "mac"), MacText(interface.mac), "twice");
    }
    if (!names.insert(interface.name).second) return Refuse(Element("interfaces", i, "name"), interface.name, "twice");
    out.interfaces.push_back(std::move(interface));
  }
  std::map<RouteKey, size_t> merged;
  for (int i = 0; i < request.routes_size(); ++i) {
    ASSIGN_OR_RETURN(Route route, PlanRoute(i, request.routes(i), names));
    AddRoute(std::move(route), out.routes, merged);
  }
  std::set<std::pair<std::string, IpAddress>> addresses;
  for (int i = 0; i < request.neighbours_size(); ++i) {
    ASSIGN_OR_RETURN(Neighbour neighbour, PlanNeighbour(i, request.neighbours(i), names));
    if (!addresses.emplace(neighbour.interface, neighbour.address).second) {
      return Refuse(Element("neighbours", i, "address"), request.neighbours(i).address(), "twice");
    }
    out.neighbours.push_back(std::move(neighbour));
  }
  return out;
}

}  // namespace kata::agent
