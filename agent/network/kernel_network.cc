// SPDX-License-Identifier: Apache-2.0
#include "agent/network/kernel_network.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/route/addr.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata::agent {
namespace {

using NlAddress = std::unique_ptr<nl_addr, NetlinkPut<nl_addr_put>>;
using NlLink = std::unique_ptr<rtnl_link, NetlinkPut<rtnl_link_put>>;
using NlInterfaceAddress = std::unique_ptr<rtnl_addr, NetlinkPut<rtnl_addr_put>>;
using NlRoute = std::unique_ptr<rtnl_route, NetlinkPut<rtnl_route_put>>;
using NlNeighbour = std::unique_ptr<rtnl_neigh, NetlinkPut<rtnl_neigh_put>>;

NlAddress ToNl(const IpAddress& address, uint32_t prefix_length) {
  NlAddress out(nl_addr_build(address.family, address.bytes.data(), address.size()));
  if (out != nullptr) nl_addr_set_prefixlen(out.get(), static_cast<int>(prefix_length));
  return out;
}
NlAddress ToNl(const IpAddress& address) { return ToNl(address, address.bits()); }

NlAddress MacToNl(const std::string& mac) { return NlAddress(nl_addr_build(AF_LLC, mac.data(), mac.size())); }

// `from` null: none. One of no bytes is the zero address of its family.
IpAddress FromNl(nl_addr* from) {
  IpAddress out;
  if (from == nullptr) return out;
  out.family = nl_addr_get_family(from);
  std::memcpy(out.bytes.data(), nl_addr_get_binary_addr(from), std::min<size_t>(nl_addr_get_len(from), out.size()));
  return out;
}

std::string MacFromNl(nl_addr* from) {
  if (from == nullptr) return "";
  return std::string(static_cast<const char*>(nl_addr_get_binary_addr(from)), nl_addr_get_len(from));
}

int IndexOf(const KernelNetwork::Indices& interfaces, const std::string& name) {
  auto found = interfaces.find(name);
  return found == interfaces.end() ? 0 : found->second;
}

// Empty: none of them.
std::string NameOf(const KernelNetwork::Indices& interfaces, int index) {
  for (const auto& [name, its_index] : interfaces) {
    if (its_index == index) return name;
  }
  return "";
}

NlInterfaceAddress ToNl(const Link& link, const InterfaceAddress& address) {
  NlInterfaceAddress out(rtnl_addr_alloc());
  if (out == nullptr) return out;
  rtnl_addr_set_ifindex(out.get(), link.index);
  rtnl_addr_set_family(out.get(), address.address.family);
  rtnl_addr_set_local(out.get(), ToNl(address.address, address.prefix_length).get());
  if (address.peer.is_set()) rtnl_addr_set_peer(out.get(), ToNl(address.peer, address.prefix_length).get());
  if (address.broadcast.is_set()) rtnl_addr_set_broadcast(out.get(), ToNl(address.broadcast).get());
  rtnl_addr_set_prefixlen(out.get(), static_cast<int>(address.prefix_length));
  rtnl_addr_set_scope(out.get(), static_cast<int>(address.scope));
  // No search for others that have it: the host answers for that, and it would be of no use meanwhile.
  if (address.address.family == AF_INET6) rtnl_addr_set_flags(out.get(), IFA_F_NODAD);
  if (address.has_no_route) rtnl_addr_set_flags(out.get(), IFA_F_NOPREFIXROUTE);
  return out;
}

InterfaceAddress FromNl(rtnl_addr* from) {
  InterfaceAddress out;
  out.address = FromNl(rtnl_addr_get_local(from));
  out.prefix_length = static_cast<uint32_t>(rtnl_addr_get_prefixlen(from));
  out.peer = FromNl(rtnl_addr_get_peer(from));
  if (out.peer == out.address) out.peer = IpAddress();
  out.has_no_route = (rtnl_addr_get_flags(from) & IFA_F_NOPREFIXROUTE) != 0;
  if (out.address.family != AF_INET) return out;
  out.broadcast = FromNl(rtnl_addr_get_broadcast(from));
  out.scope = static_cast<uint32_t>(rtnl_addr_get_scope(from));
  out.is_secondary = (rtnl_addr_get_flags(from) & IFA_F_SECONDARY) != 0;
  return out;
}

bool AddHop(const KernelNetwork::Indices& interfaces, const NextHop& from, int family, rtnl_route* to) {
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  if (hop == nullptr) return false;
  rtnl_route_nh_set_ifindex(hop, IndexOf(interfaces, from.interface));
  rtnl_route_nh_set_weight(hop, static_cast<uint8_t>(from.weight));
  if (from.is_onlink) rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
  rtnl_route_add_nexthop(to, hop);  // whose it is now
  if (!from.gateway.is_set()) return true;
  const NlAddress gateway = ToNl(from.gateway);
  if (gateway == nullptr) return false;
  if (from.gateway.family != family) return rtnl_route_nh_set_via(hop, gateway.get()) >= 0;
  rtnl_route_nh_set_gateway(hop, gateway.get());
  return true;
}

NlRoute ToNl(const KernelNetwork::Indices& interfaces, const Route& route) {
  NlRoute out(rtnl_route_alloc());
  if (out == nullptr) return out;
  rtnl_route_set_family(out.get(), static_cast<uint8_t>(route.family));
  rtnl_route_set_dst(out.get(), ToNl(route.destination, route.prefix_length).get());
  rtnl_route_set_table(out.get(), route.table);
  rtnl_route_set_scope(out.get(), static_cast<uint8_t>(route.scope));
  rtnl_route_set_protocol(out.get(), RTPROT_STATIC);
  rtnl_route_set_priority(out.get(), route.metric);
  rtnl_route_set_type(out.get(), static_cast<uint8_t>(route.type));
  // The only hop's flags are the route's.
  if (route.hops.size() == 1 && route.hops[0].is_onlink) rtnl_route_set_flags(out.get(), RTNH_F_ONLINK);
  if (route.source.is_set()) rtnl_route_set_pref_src(out.get(), ToNl(route.source).get());
  if (route.mtu != 0) rtnl_route_set_metric(out.get(), RTAX_MTU, route.mtu);
  for (const NextHop& hop : route.hops) {
    if (!AddHop(interfaces, hop, route.family, out.get())) return nullptr;
  }
  return out;
}

// Without the next hops.
Route FromNl(rtnl_route* from) {
  Route out;
  out.family = rtnl_route_get_family(from);
  nl_addr* destination = rtnl_route_get_dst(from);
  out.destination = FromNl(destination);
  out.destination.family = out.family;
  out.prefix_length = destination == nullptr ? 0 : nl_addr_get_prefixlen(destination);
  out.table = rtnl_route_get_table(from);
  out.metric = rtnl_route_get_priority(from);
  out.type = rtnl_route_get_type(from);
  out.source = FromNl(rtnl_route_get_pref_src(from));
  out.scope = rtnl_route_get_scope(from);
  rtnl_route_get_metric(from, RTAX_MTU, &out.mtu);
  return out;
}

// Those of other interfaces are left out.
void AppendRoute(const KernelNetwork::Indices& interfaces, rtnl_route* from, std::vector<Route>& out) {
  Route route = FromNl(from);
  const bool is_onlink = (rtnl_route_get_flags(from) & RTNH_F_ONLINK) != 0;
  for (int i = 0; i < rtnl_route_get_nnexthops(from); ++i) {
    rtnl_nexthop* next_hop = rtnl_route_nexthop_n(from, i);
    NextHop hop;
    hop.interface = NameOf(interfaces, rtnl_route_nh_get_ifindex(next_hop));
    nl_addr* via = rtnl_route_nh_get_via(next_hop);
    hop.gateway = FromNl(via != nullptr ? via : rtnl_route_nh_get_gateway(next_hop));
    hop.is_onlink = is_onlink || (rtnl_route_nh_get_flags(next_hop) & RTNH_F_ONLINK) != 0;
    hop.weight = rtnl_route_nh_get_weight(next_hop);
    if (!hop.interface.empty()) route.hops.push_back(std::move(hop));
  }
  Normalize(route);
  if (!route.hops.empty() || NeedsNoInterface(route.type)) out.push_back(std::move(route));
}

NlNeighbour ToNl(const KernelNetwork::Indices& interfaces, const Neighbour& neighbour) {
  NlNeighbour out(rtnl_neigh_alloc());
  if (out == nullptr) return out;
  rtnl_neigh_set_ifindex(out.get(), IndexOf(interfaces, neighbour.interface));
  rtnl_neigh_set_family(out.get(), neighbour.address.family);
  rtnl_neigh_set_dst(out.get(), ToNl(neighbour.address).get());
  rtnl_neigh_set_lladdr(out.get(), MacToNl(neighbour.mac).get());
  rtnl_neigh_set_state(out.get(), NUD_PERMANENT);
  return out;
}

std::string What(absl::string_view doing, absl::string_view kind, const std::string& text,
                 const std::string& interface) {
  std::string out = absl::StrCat(doing, " ", kind, " \"", text, "\"");
  if (!interface.empty()) absl::StrAppend(&out, " of \"", interface, "\"");
  return out;
}

absl::Status OutOfMemory(absl::string_view what) {
  return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
}

}  // namespace

bool IsOfSetNetwork(int route_protocol) { return route_protocol == RTPROT_STATIC || route_protocol == RTPROT_RA; }

absl::StatusOr<KernelNetwork> KernelNetwork::Open() {
  ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open());
  return KernelNetwork(std::move(netlink));
}

absl::StatusOr<std::vector<Link>> KernelNetwork::Links() {
  ASSIGN_OR_RETURN(auto objects, netlink_.Dump(RTM_GETLINK, AF_UNSPEC, "listing the interfaces"));
  std::vector<Link> out;
  for (const Netlink::Object& object : objects) {
    auto* from = reinterpret_cast<rtnl_link*>(object.get());
    out.push_back({.index = rtnl_link_get_ifindex(from),
                   .name = rtnl_link_get_name(from),
                   .mac = MacFromNl(rtnl_link_get_addr(from)),
                   .mtu = rtnl_link_get_mtu(from),
                   .is_up = (rtnl_link_get_flags(from) & IFF_UP) != 0});
  }
  std::sort(out.begin(), out.end(), [](const Link& a, const Link& b) { return a.index < b.index; });
  return out;
}

absl::Status KernelNetwork::Change(const Link& link, rtnl_link* changes, absl::string_view what,
                                   std::initializer_list<int> allowed) {
  const NlLink original(rtnl_link_alloc());
  if (original == nullptr || changes == nullptr) return OutOfMemory(what);
  rtnl_link_set_ifindex(original.get(), link.index);
  nl_msg* message = nullptr;
  const int built = rtnl_link_build_change_request(original.get(), changes, 0, &message);
  return netlink_.Request(built, message, what, allowed);
}

absl::Status KernelNetwork::Rename(const Link& link, const std::string& new_name) {
  const NlLink changes(rtnl_link_alloc());
  if (changes != nullptr) rtnl_link_set_name(changes.get(), new_name.c_str());
  return Change(link, changes.get(), absl::StrCat("renaming \"", link.name, "\" to \"", new_name, "\""));
}

absl::Status KernelNetwork::SetMtu(const Link& link, uint32_t mtu) {
  const NlLink changes(rtnl_link_alloc());
  if (changes != nullptr) rtnl_link_set_mtu(changes.get(), mtu);
  return Change(link, changes.get(), What("setting", "mtu", absl::StrCat(mtu), link.name));
}

absl::Status KernelNetwork::SetUp(const Link& link, bool is_up) {
  const NlLink changes(rtnl_link_alloc());
  if (changes != nullptr && is_up) rtnl_link_set_flags(changes.get(), IFF_UP);
  if (changes != nullptr && !is_up) rtnl_link_unset_flags(changes.get(), IFF_UP);
  return Change(link, changes.get(), absl::StrCat("bringing \"", link.name, "\" ", is_up ? "up" : "down"));
}

absl::StatusOr<std::vector<InterfaceAddress>> KernelNetwork::Addresses(const Link& link) {
  const std::string what = absl::StrCat("listing the addresses of \"", link.name, "\"");
  ASSIGN_OR_RETURN(auto objects, netlink_.Dump(RTM_GETADDR, AF_UNSPEC, what));
  std::vector<InterfaceAddress> out;
  for (const Netlink::Object& object : objects) {
    auto* from = reinterpret_cast<rtnl_addr*>(object.get());
    if (rtnl_addr_get_ifindex(from) == link.index) out.push_back(FromNl(from));
  }
  return out;
}

absl::Status KernelNetwork::Add(const Link& link, const InterfaceAddress& address) {
  const std::string what = What("setting", "address", address.Text(), link.name);
  const NlInterfaceAddress object = ToNl(link, address);
  if (object == nullptr) return OutOfMemory(what);
  nl_msg* message = nullptr;
  const int built = rtnl_addr_build_add_request(object.get(), NLM_F_CREATE | NLM_F_EXCL, &message);
  return netlink_.Request(built, message, what, {EEXIST});
}

absl::Status KernelNetwork::Remove(const Link& link, const InterfaceAddress& address) {
  const std::string what = What("removing", "address", address.Text(), link.name);
  const NlInterfaceAddress object = ToNl(link, address);
  if (object == nullptr) return OutOfMemory(what);
  nl_msg* message = nullptr;
  const int built = rtnl_addr_build_delete_request(object.get(), 0, &message);
  return netlink_.Request(built, message, what, {EADDRNOTAVAIL});
}

absl::StatusOr<std::vector<Route>> KernelNetwork::Routes(const Indices& interfaces) {
  std::vector<Route> out;
  for (int family : {AF_INET, AF_INET6}) {
    ASSIGN_OR_RETURN(auto objects, netlink_.Dump(RTM_GETROUTE, family, "listing the routes"));
    for (const Netlink::Object& object : objects) {
      auto* from = reinterpret_cast<rtnl_route*>(object.get());
      if (rtnl_route_get_family(from) == family && IsOfSetNetwork(rtnl_route_get_protocol(from))) {
        AppendRoute(interfaces, from, out);
      }
    }
  }
  return out;
}

absl::Status KernelNetwork::Add(const Indices& interfaces, const Route& route, bool is_alone) {
  const std::string what = What("setting", "route", route.Text(), route.InterfaceText());
  const NlRoute object = ToNl(interfaces, route);
  if (object == nullptr) return OutOfMemory(what);
  nl_msg* message = nullptr;
  const int flags = NLM_F_CREATE | (is_alone ? NLM_F_REPLACE : NLM_F_APPEND);
  return netlink_.Request(rtnl_route_build_add_request(object.get(), flags, &message), message, what, {EEXIST});
}

absl::Status KernelNetwork::Remove(const Indices& interfaces, const Route& route) {
  const std::string what = What("removing", "route", route.Text(), route.InterfaceText());
  const NlRoute object = ToNl(interfaces, route);
  if (object == nullptr) return OutOfMemory(what);
  // Whatever set it: it was listed as one that may go.
  rtnl_route_set_protocol(object.get(), RTPROT_UNSPEC);
  nl_msg* message = nullptr;
  return netlink_.Request(rtnl_route_build_del_request(object.get(), 0, &message), message, what, {ESRCH});
}

absl::StatusOr<std::vector<Neighbour>> KernelNetwork::Neighbours(const Indices& interfaces) {
  std::vector<Neighbour> out;
  for (int family : {AF_INET, AF_INET6}) {
    ASSIGN_OR_RETURN(auto objects, netlink_.Dump(RTM_GETNEIGH, family, "listing the neighbours"));
    for (const Netlink::Object& object : objects) {
      auto* from = reinterpret_cast<rtnl_neigh*>(object.get());
      const std::string interface = NameOf(interfaces, rtnl_neigh_get_ifindex(from));
      if (rtnl_neigh_get_family(from) != family || rtnl_neigh_get_state(from) != NUD_PERMANENT || interface.empty()) {
        continue;
      }
      out.push_back({.interface = interface,
                     .address = FromNl(rtnl_neigh_get_dst(from)),
                     .mac = MacFromNl(rtnl_neigh_get_lladdr(from))});
    }
  }
  return out;
}

absl::Status KernelNetwork::Set(const Indices& interfaces, const Neighbour& neighbour) {
  const std::string what = What("setting", "neighbour", neighbour.address.Text(), neighbour.interface);
  const NlNeighbour object = ToNl(interfaces, neighbour);
  if (object == nullptr) return OutOfMemory(what);
  nl_msg* message = nullptr;
  const int built = rtnl_neigh_build_add_request(object.get(), NLM_F_CREATE | NLM_F_REPLACE, &message);
  return netlink_.Request(built, message, what);
}

absl::Status KernelNetwork::Remove(const Indices& interfaces, const Neighbour& neighbour) {
  const std::string what = What("removing", "neighbour", neighbour.address.Text(), neighbour.interface);
  const NlNeighbour object = ToNl(interfaces, neighbour);
  if (object == nullptr) return OutOfMemory(what);
  nl_msg* message = nullptr;
  return netlink_.Request(rtnl_neigh_build_delete_request(object.get(), 0, &message), message, what, {ENOENT});
}

}  // namespace kata::agent
