// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/network/pod_network.h"

#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <absl/strings/match.h>
#include <fmt/format.h>

#include "virtcontainers/network/tap_link.h"

namespace kata::virtcontainers {
namespace {

constexpr int kMacSize = ETH_ALEN;
constexpr uint32_t kIpv4Bits = 32;

template <typename T, typename Use>
absl::Status ForEach(const NetlinkCache& cache, Use use) {
  for (nl_object* object = nl_cache_get_first(cache.get()); object != nullptr; object = nl_cache_get_next(object)) {
    RETURN_IF_ERROR(use(reinterpret_cast<T*>(object)));
  }
  return absl::OkStatus();
}

std::string MacText(const unsigned char* mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

// An interface's index, bits of a network, how many.
using Network = std::tuple<int, std::string, int>;

Network NetworkOf(int interface, nl_addr* address, int prefix_length) {
  std::string bits(static_cast<const char*>(nl_addr_get_binary_addr(address)), nl_addr_get_len(address));
  for (size_t i = 0; i < bits.size(); ++i) {
    const int kept = std::clamp(prefix_length - static_cast<int>(i) * 8, 0, 8);
    bits[i] = static_cast<char>(bits[i] & (0xff00 >> kept));
  }
  return {interface, std::move(bits), prefix_length};
}

bool HasGateway(const agent::v1::NetworkRoute& route) {
  const auto& hops = route.next_hops();
  return !route.gateway().empty() ||
         std::any_of(hops.begin(), hops.end(), [](const auto& hop) { return !hop.gateway().empty(); });
}

class Reader {
 public:
  Reader(nl_sock* socket, const std::string& owner, const std::function<bool(int)>& was_carried)
      : socket_(socket), owner_(owner), was_carried_(was_carried) {}

  absl::StatusOr<PodNetwork> Read() {
    RETURN_IF_ERROR(ReadLinks());
    RETURN_IF_ERROR(ReadAddresses());
    RETURN_IF_ERROR(ReadRoutes());
    MarkAddressesWithoutRoute();
    RETURN_IF_ERROR(ReadNeighbours());
    return std::move(network_);
  }

 private:
  absl::Status ReadLinks() {
    nl_cache* raw = nullptr;
    RETURN_IF_ERROR(NetlinkStatus(rtnl_link_alloc_cache(socket_, AF_UNSPEC, &raw), "listing the interfaces"));
    const NetlinkCache links(raw);
    return ForEach<rtnl_link>(links, [this](rtnl_link* link) {
      network_.problem.Update(AddLink(link));
      return absl::OkStatus();
    });
  }

  absl::Status AddLink(rtnl_link* link) {
    const unsigned int flags = rtnl_link_get_flags(link);
    PodInterface interface;
    interface.index = rtnl_link_get_ifindex(link);
    if ((flags & IFF_LOOPBACK) != 0) return absl::OkStatus();
    if (const std::string owner = OwnerOf(link); !owner.empty()) {
      if (owner != owner_) network_.other_owner = owner;
      return absl::OkStatus();
    }
    const bool is_up = (flags & IFF_UP) != 0;
    if (!is_up && !was_carried_(interface.index)) return absl::OkStatus();
    interface.name = rtnl_link_get_name(link);
    interface.mtu = rtnl_link_get_mtu(link);
    const char* kind = rtnl_link_get_type(link);
    nl_addr* mac = rtnl_link_get_addr(link);
    if (rtnl_link_get_arptype(link) != ARPHRD_ETHER || mac == nullptr || nl_addr_get_len(mac) != kMacSize) {
      return absl::InvalidArgumentError(absl::StrCat("interface \"", interface.name, "\" (",
                                                     kind != nullptr ? kind : "no kind",
                                                     "): only Ethernet can be carried into a machine"));
    }
    if (kind == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("interface \"", interface.name,
                       "\" is a device of the host, not a virtual one: it cannot be carried into a machine"));
    }
    if (network_.interfaces.size() == kInterfacesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("interface \"", interface.name, "\": a machine has room for ", kInterfacesMax, " interfaces"));
    }
    const auto* bytes = static_cast<const unsigned char*>(nl_addr_get_binary_addr(mac));
    interface.mac = MacText(bytes);
    if (!macs_.insert(interface.mac).second) {
      return absl::InvalidArgumentError(absl::StrCat("interface \"", interface.name, "\" has the hardware address ",
                                                     interface.mac, " of another: a machine cannot tell them apart"));
    }
    agent::v1::NetworkInterface& out = *network_.for_guest.add_interfaces();
    out.set_mac(bytes, kMacSize);
    out.set_name(interface.name);
    out.set_mtu(interface.mtu);
    out.set_is_up(is_up);
    names_[interface.index] = interface.name;
    at_[interface.index] = network_.for_guest.interfaces_size() - 1;
    network_.interfaces.push_back(std::move(interface));
    return absl::OkStatus();
  }

  absl::Status ReadAddresses() {
    nl_cache* raw = nullptr;
    RETURN_IF_ERROR(NetlinkStatus(rtnl_addr_alloc_cache(socket_, &raw), "listing the addresses"));
    const NetlinkCache addresses(raw);
    return ForEach<rtnl_addr>(addresses, [this](rtnl_addr* address) -> absl::Status {
      const auto at = at_.find(rtnl_addr_get_ifindex(address));
      nl_addr* local = rtnl_addr_get_local(address);
      if (at == at_.end() || local == nullptr) return absl::OkStatus();
      agent::v1::NetworkAddress& out = *network_.for_guest.mutable_interfaces(at->second)->add_addresses();
      out.set_address(AddressText(local));
      out.set_prefix_length(static_cast<uint32_t>(rtnl_addr_get_prefixlen(address)));
      out.set_broadcast(AddressText(rtnl_addr_get_broadcast(address)));
      const std::string peer = AddressText(rtnl_addr_get_peer(address));
      if (peer != out.address()) out.set_peer(peer);
      networks_.push_back({&out, NetworkOf(rtnl_addr_get_ifindex(address),
                                           rtnl_addr_get_peer(address) != nullptr ? rtnl_addr_get_peer(address) : local,
                                           rtnl_addr_get_prefixlen(address))});
      out.set_scope(static_cast<uint32_t>(rtnl_addr_get_scope(address)));
      return absl::OkStatus();
    });
  }

  absl::Status ReadRoutes() {
    nl_cache* raw = nullptr;
    RETURN_IF_ERROR(NetlinkStatus(rtnl_route_alloc_cache(socket_, AF_UNSPEC, 0, &raw), "listing the routes"));
    const NetlinkCache routes(raw);
    std::vector<agent::v1::NetworkRoute> found;
    RETURN_IF_ERROR(ForEach<rtnl_route>(
        routes, [this, &found](rtnl_route* route) -> absl::Status { return AddRoute(route, found); }));
    // A gateway must be on a link that has a route already.
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& left, const auto& right) { return !HasGateway(left) && HasGateway(right); });
    for (agent::v1::NetworkRoute& route : found) *network_.for_guest.add_routes() = std::move(route);
    return absl::OkStatus();
  }

  // Of an address that the caller keeps for one host only, the kernel's route to its network is gone (CNI's ptp).
  void MarkAddressesWithoutRoute() {
    for (const auto& [address, network] : networks_) {
      // To itself alone IPv4 has none.
      const bool is_alone = address->peer().empty() && address->prefix_length() == kIpv4Bits;
      if (!is_alone && routed_.count(network) == 0) address->set_has_no_route(true);
    }
  }

  absl::Status AddRoute(rtnl_route* route, std::vector<agent::v1::NetworkRoute>& found) {
    const uint8_t type = rtnl_route_get_type(route);
    const bool has_no_link =
        type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT || type == RTN_THROW;
    if (rtnl_route_get_table(route) == RT_TABLE_LOCAL) return absl::OkStatus();
    // The kernel makes these in the guest too, of the addresses.
    if (rtnl_route_get_protocol(route) == RTPROT_KERNEL) {
      nl_addr* network = rtnl_route_get_dst(route);
      if (network != nullptr && rtnl_route_get_nnexthops(route) == 1) {
        routed_.insert(NetworkOf(rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0)), network,
                                 static_cast<int>(nl_addr_get_prefixlen(network))));
      }
      return absl::OkStatus();
    }
    if (type != RTN_UNICAST && !has_no_link) return absl::OkStatus();
    agent::v1::NetworkRoute out;
    nl_addr* destination = rtnl_route_get_dst(route);
    out.set_family(rtnl_route_get_family(route));
    out.set_destination(AddressText(destination));
    if (destination != nullptr && !out.destination().empty()) out.set_prefix_length(nl_addr_get_prefixlen(destination));
    if (!has_no_link) {
      RETURN_IF_ERROR(AddHops(route, out));
      // By an interface that is not the pod's.
      if (out.interface().empty() && out.next_hops_size() == 0) return absl::OkStatus();
    }
    if (found.size() == kRoutesMax) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", kRoutesMax, " routes"));
    }
    out.set_source(AddressText(rtnl_route_get_pref_src(route)));
    out.set_scope(rtnl_route_get_scope(route));
    out.set_table(rtnl_route_get_table(route));
    out.set_type(type);
    out.set_metric(rtnl_route_get_priority(route));
    uint32_t mtu = 0;
    if (rtnl_route_get_metric(route, RTAX_MTU, &mtu) == 0) out.set_mtu(mtu);
    found.push_back(std::move(out));
    return absl::OkStatus();
  }

  // Those of interfaces that are not the pod's are left out.
  absl::Status AddHops(rtnl_route* route, agent::v1::NetworkRoute& out) {
    for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
      rtnl_nexthop* from = rtnl_route_nexthop_n(route, i);
      const auto interface = names_.find(rtnl_route_nh_get_ifindex(from));
      if (interface == names_.end()) continue;
      if (out.next_hops_size() == kNextHopsMax) {
        return absl::InvalidArgumentError(absl::StrCat("route \"",
                                                       out.destination().empty() ? "default" : out.destination(),
                                                       "\" has more than ", kNextHopsMax, " next hops"));
      }
      agent::v1::NetworkNextHop& hop = *out.add_next_hops();
      hop.set_interface(interface->second);
      nl_addr* via = rtnl_route_nh_get_via(from);
      hop.set_gateway(AddressText(via != nullptr ? via : rtnl_route_nh_get_gateway(from)));
      hop.set_is_onlink((rtnl_route_nh_get_flags(from) & RTNH_F_ONLINK) != 0);
      hop.set_weight(rtnl_route_nh_get_weight(from));
    }
    if (out.next_hops_size() != 1) return absl::OkStatus();
    // As agents know it that know no next_hops.
    const agent::v1::NetworkNextHop only = out.next_hops(0);
    out.clear_next_hops();
    out.set_interface(only.interface());
    out.set_gateway(only.gateway());
    out.set_is_onlink(only.is_onlink());
    return absl::OkStatus();
  }

  absl::Status ReadNeighbours() {
    nl_cache* raw = nullptr;
    RETURN_IF_ERROR(NetlinkStatus(rtnl_neigh_alloc_cache(socket_, &raw), "listing the neighbours"));
    const NetlinkCache neighbours(raw);
    return ForEach<rtnl_neigh>(neighbours, [this](rtnl_neigh* neighbour) -> absl::Status {
      const auto interface = names_.find(rtnl_neigh_get_ifindex(neighbour));
      nl_addr* mac = rtnl_neigh_get_lladdr(neighbour);
      const int family = rtnl_neigh_get_family(neighbour);
      if (interface == names_.end() || (family != AF_INET && family != AF_INET6)) return absl::OkStatus();
      if (rtnl_neigh_get_state(neighbour) != NUD_PERMANENT || mac == nullptr || nl_addr_get_len(mac) != kMacSize)
        return absl::OkStatus();
      if (network_.for_guest.neighbours_size() == kNeighboursMax) {
        return absl::InvalidArgumentError(absl::StrCat("more than ", kNeighboursMax, " permanent neighbours"));
      }
      agent::v1::NetworkNeighbour& out = *network_.for_guest.add_neighbours();
      out.set_address(AddressText(rtnl_neigh_get_dst(neighbour)));
      out.set_interface(interface->second);
      out.set_mac(nl_addr_get_binary_addr(mac), kMacSize);
      return absl::OkStatus();
    });
  }

  nl_sock* socket_;
  const std::string& owner_;
  const std::function<bool(int)>& was_carried_;
  PodNetwork network_;
  std::vector<std::pair<agent::v1::NetworkAddress*, Network>> networks_;  // of each address
  std::set<Network> routed_;                                              // to which the kernel has made a route
  std::set<std::string> macs_;
  std::map<int, std::string> names_;  // of the interfaces that are carried, by index
  std::map<int, int> at_;             // and where they are in the request
};

}  // namespace

void LeaveOut(const std::set<std::string>& interfaces, agent::v1::SetNetworkRequest& request) {
  if (interfaces.empty()) return;
  const auto erase = [](auto* list, const auto& is_one) {
    list->erase(std::remove_if(list->begin(), list->end(), is_one), list->end());
  };
  const auto is_of_these = [&interfaces](const auto& each) { return interfaces.count(each.interface()) != 0; };
  erase(request.mutable_interfaces(), [&interfaces](const auto& each) { return interfaces.count(each.name()) != 0; });
  erase(request.mutable_neighbours(), is_of_these);
  erase(request.mutable_routes(), [&erase, &is_of_these](agent::v1::NetworkRoute& route) {
    const bool had_several = route.next_hops_size() > 0;
    erase(route.mutable_next_hops(), is_of_these);
    return is_of_these(route) || (had_several && route.next_hops_size() == 0);
  });
}

absl::StatusOr<PodNetwork> ReadPodNetwork(nl_sock* socket, const std::string& owner,
                                          const std::function<bool(int)>& was_carried) {
  return Reader(socket, owner, was_carried).Read();
}

}  // namespace kata::virtcontainers
