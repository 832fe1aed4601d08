// SPDX-License-Identifier: Apache-2.0
#include "agent/network/network_plan.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <functional>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

// One of everything, all good.
v1::SetNetworkRequest GoodRequest() {
  v1::SetNetworkRequest out;
  auto& interface = *out.add_interfaces();
  interface.set_mac("\x02\x00\x00\x00\x00\x01", 6);
  interface.set_name("eth0");
  interface.set_mtu(1400);
  interface.set_is_up(true);
  auto& address = *interface.add_addresses();
  address.set_address("10.1.2.3");
  address.set_prefix_length(24);
  address.set_broadcast("10.1.2.255");
  auto& route = *out.add_routes();
  route.set_family(AF_INET);
  route.set_gateway("10.1.2.1");
  route.set_interface("eth0");
  route.set_table(RT_TABLE_MAIN);
  route.set_type(RTN_UNICAST);
  auto& neighbour = *out.add_neighbours();
  neighbour.set_address("10.1.2.1");
  neighbour.set_interface("eth0");
  neighbour.set_mac("\x02\x00\x00\x00\x00\x02", 6);
  return out;
}

struct BadCase {
  const char* text;  // of the error
  std::function<void(v1::SetNetworkRequest&)> spoil;
};

v1::NetworkInterface& First(v1::SetNetworkRequest& request) { return *request.mutable_interfaces(0); }
v1::NetworkAddress& FirstAddress(v1::SetNetworkRequest& request) { return *First(request).mutable_addresses(0); }
v1::NetworkRoute& FirstRoute(v1::SetNetworkRequest& request) { return *request.mutable_routes(0); }
v1::NetworkNeighbour& FirstNeighbour(v1::SetNetworkRequest& request) { return *request.mutable_neighbours(0); }

v1::NetworkInterface& AddSecond(v1::SetNetworkRequest& request) {
  auto& interface = *request.add_interfaces();
  interface.set_mac("\x02\x00\x00\x00\x00\x09", 6);
  interface.set_name("eth1");
  return interface;
}

const BadCase kBadCases[] = {
    {"interfaces[0].mac \"02:00\": not of 6 bytes", [](auto& request) { First(request).set_mac("\x02\x00", 2); }},
    {"interfaces[0].mac \"\": not of 6 bytes", [](auto& request) { First(request).clear_mac(); }},
    {"interfaces[1].mac \"02:00:00:00:00:01\": twice",
     [](auto& request) { AddSecond(request).set_mac(request.interfaces(0).mac()); }},
    {"interfaces[1].name \"eth0\": twice", [](auto& request) { AddSecond(request).set_name("eth0"); }},
    {"interfaces[0].name \"\": no name", [](auto& request) { First(request).clear_name(); }},
    {"interfaces[0].name \"sixteen-letters-\": no name",
     [](auto& request) { First(request).set_name("sixteen-letters-"); }},
    {"interfaces[0].name \"a/b\": no name", [](auto& request) { First(request).set_name("a/b"); }},
    {"interfaces[0].name \"eth%d\": no name", [](auto& request) { First(request).set_name("eth%d"); }},
    {"interfaces[0].name \"a\\nb\": no name", [](auto& request) { First(request).set_name("a\nb"); }},
    {"interfaces[0].name \"..\": no name", [](auto& request) { First(request).set_name(".."); }},
    {"interfaces[0].name \"lo\": the loopback interface's", [](auto& request) { First(request).set_name("lo"); }},
    {"interfaces \"33\": at most 32",
     [](auto& request) {
       while (request.interfaces_size() <= kInterfacesMax) request.add_interfaces();
     }},
    {"interfaces[0].addresses \"1025\": at most 1024",
     [](auto& request) {
       while (First(request).addresses_size() <= kAddressesMax) First(request).add_addresses();
     }},
    {"routes \"4097\": at most 4096",
     [](auto& request) {
       while (request.routes_size() <= kRoutesMax) request.add_routes();
     }},
    {"neighbours \"4097\": at most 4096",
     [](auto& request) {
       while (request.neighbours_size() <= kNeighboursMax) request.add_neighbours();
     }},
    {"interfaces[0].addresses[0].address \"10.1.2\": not an IP address",
     [](auto& request) { FirstAddress(request).set_address("10.1.2"); }},
    {"interfaces[0].addresses[0].address \"\": not an IP address",
     [](auto& request) { FirstAddress(request).clear_address(); }},
    {"interfaces[0].addresses[0].address \"10.1.2.3\\000x\": not an IP address",
     [](auto& request) { FirstAddress(request).set_address(std::string("10.1.2.3\0x", 10)); }},
    {"interfaces[0].addresses[0].prefix_length \"33\": too long",
     [](auto& request) { FirstAddress(request).set_prefix_length(33); }},
    {"interfaces[0].addresses[0].broadcast \"2001:db8::1\": of another family",
     [](auto& request) { FirstAddress(request).set_broadcast("2001:db8::1"); }},
    {"interfaces[0].addresses[0].broadcast \"2001:db8::2\": IPv6 has none",
     [](auto& request) {
       FirstAddress(request).set_address("2001:db8::1");
       FirstAddress(request).set_broadcast("2001:db8::2");
     }},
    {"interfaces[0].addresses[0].peer \"2001:db8::1\": of another family",
     [](auto& request) { FirstAddress(request).set_peer("2001:db8::1"); }},
    {"interfaces[0].addresses[0].scope \"256\": above 255",
     [](auto& request) { FirstAddress(request).set_scope(256); }},
    {"interfaces[0].addresses[1].address \"10.1.2.3\": twice",
     [](auto& request) { *First(request).add_addresses() = FirstAddress(request); }},
    {"routes[0].family \"0\": neither", [](auto& request) { FirstRoute(request).clear_family(); }},
    {"routes[0].destination \"2001:db8::\": of another family",
     [](auto& request) {
       FirstRoute(request).set_destination("2001:db8::");
       FirstRoute(request).set_prefix_length(32);
     }},
    {"routes[0].destination \"x\": not an IP address", [](auto& request) { FirstRoute(request).set_destination("x"); }},
    {"routes[0].destination \"10.0.0.1\": has bits set beyond its prefix length 8",
     [](auto& request) {
       FirstRoute(request).set_destination("10.0.0.1");
       FirstRoute(request).set_prefix_length(8);
     }},
    {"routes[0].prefix_length \"8\": too long", [](auto& request) { FirstRoute(request).set_prefix_length(8); }},
    {"routes[0].prefix_length \"33\": too long",
     [](auto& request) {
       FirstRoute(request).set_destination("10.0.0.0");
       FirstRoute(request).set_prefix_length(33);
     }},
    {"routes[0].gateway \"10.1.2.1\": of another family",
     [](auto& request) { FirstRoute(request).set_family(AF_INET6); }},
    {"routes[0].next_hops \"129\": at most 128",
     [](auto& request) {
       while (FirstRoute(request).next_hops_size() <= kNextHopsMax) FirstRoute(request).add_next_hops();
     }},
    {"routes[0].next_hops[1].gateway \"x\": not an IP address",
     [](auto& request) {
       FirstRoute(request).add_next_hops()->set_interface("eth0");
       FirstRoute(request).add_next_hops()->set_gateway("x");
     }},
    {"routes[0].next_hops[0].interface \"eth7\": not one of the request's",
     [](auto& request) { FirstRoute(request).add_next_hops()->set_interface("eth7"); }},
    {"routes[0].next_hops[0].weight \"256\": above 255",
     [](auto& request) {
       auto& hop = *FirstRoute(request).add_next_hops();
       hop.set_interface("eth0");
       hop.set_weight(256);
     }},
    {"routes[0].source \"fe80::1\": of another family",
     [](auto& request) { FirstRoute(request).set_source("fe80::1"); }},
    {"routes[0].scope \"300\": above 255", [](auto& request) { FirstRoute(request).set_scope(300); }},
    {"routes[0].type \"0\": not known", [](auto& request) { FirstRoute(request).clear_type(); }},
    {"routes[0].type \"12\": not known", [](auto& request) { FirstRoute(request).set_type(12); }},
    {"routes[0].interface \"eth7\": not one of the request's",
     [](auto& request) { FirstRoute(request).set_interface("eth7"); }},
    {"routes[0].interface \"\": not one of the request's",
     [](auto& request) { FirstRoute(request).clear_interface(); }},
    {"neighbours[0].address \"x\": not an IP address", [](auto& request) { FirstNeighbour(request).set_address("x"); }},
    {"neighbours[0].interface \"eth7\": not one of the request's",
     [](auto& request) { FirstNeighbour(request).set_interface("eth7"); }},
    {"neighbours[0].mac \"\": not of 6 bytes", [](auto& request) { FirstNeighbour(request).clear_mac(); }},
    {"neighbours[1].address \"10.1.2.1\": twice",
     [](auto& request) { *request.add_neighbours() = FirstNeighbour(request); }},
};

TEST(PlanNetwork, TakesWhatIsGood) {
  const absl::StatusOr<NetworkPlan> plan = PlanNetwork(GoodRequest());
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->interfaces.size(), 1u);
  ASSERT_EQ(plan->interfaces[0].addresses.size(), 1u);
  EXPECT_EQ(plan->interfaces[0].addresses[0].Text(), "10.1.2.3/24");
  ASSERT_EQ(plan->routes.size(), 1u);
  EXPECT_EQ(plan->routes[0].Text(), "default via 10.1.2.1");
  ASSERT_EQ(plan->neighbours.size(), 1u);
  EXPECT_EQ(MacText(plan->neighbours[0].mac), "02:00:00:00:00:02");
}

TEST(PlanNetwork, RefusesEachKindOfBadInputByItsName) {
  for (const BadCase& bad : kBadCases) {
    v1::SetNetworkRequest request = GoodRequest();
    bad.spoil(request);
    const absl::Status status = PlanNetwork(request).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad.text << ": " << status;
    EXPECT_EQ(std::string(status.message()).rfind(bad.text, 0), 0u) << "is: " << status << "\nwanted: " << bad.text;
  }
}

TEST(PlanNetwork, TheCountsMayBeAtTheirLimits) {
  v1::SetNetworkRequest request = GoodRequest();
  while (request.interfaces_size() < kInterfacesMax) {
    auto& interface = AddSecond(request);
    interface.set_mac(std::string("\x02\x00\x00\x00\x01", 5) + static_cast<char>(request.interfaces_size()));
    interface.set_name("if" + std::to_string(request.interfaces_size()));
  }
  while (request.routes_size() < kRoutesMax) {
    *request.add_routes() = FirstRoute(request);
    request.mutable_routes()->rbegin()->set_metric(static_cast<uint32_t>(request.routes_size()));
  }
  EXPECT_TRUE(PlanNetwork(request).ok()) << PlanNetwork(request).status();
}

TEST(PlanNetwork, ARouteThatGoesNowhereNeedsNoInterfaceAndLoIsOne) {
  v1::SetNetworkRequest request = GoodRequest();
  FirstRoute(request).set_type(RTN_BLACKHOLE);
  FirstRoute(request).clear_interface();
  FirstRoute(request).clear_gateway();
  v1::SetNetworkRequest other = GoodRequest();
  *request.add_routes() = FirstRoute(other);
  request.mutable_routes(1)->set_interface("lo");
  EXPECT_TRUE(PlanNetwork(request).ok()) << PlanNetwork(request).status();
}

TEST(PlanNetwork, LaterAddressesOfANetworkAreSecondary) {
  v1::SetNetworkRequest request = GoodRequest();
  for (const char* text : {"10.1.2.4", "10.1.3.4"}) {
    *First(request).add_addresses() = FirstAddress(request);
    First(request).mutable_addresses()->rbegin()->set_address(text);
  }
  const absl::StatusOr<NetworkPlan> plan = PlanNetwork(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<InterfaceAddress>& addresses = plan->interfaces[0].addresses;
  EXPECT_FALSE(addresses[0].is_secondary);
  EXPECT_TRUE(addresses[1].is_secondary);
  EXPECT_FALSE(addresses[2].is_secondary);
}

TEST(IpAddress, TheNetworkIsWhatThePrefixLeaves) {
  IpAddress address;
  ASSERT_TRUE(ParseIp("10.255.255.255", address));
  EXPECT_EQ(address.Network(32).Text(), "10.255.255.255");
  EXPECT_EQ(address.Network(13).Text(), "10.248.0.0");
  EXPECT_EQ(address.Network(0).Text(), "0.0.0.0");
  ASSERT_TRUE(ParseIp("2001:db8:ffff::1", address));
  EXPECT_EQ(address.Network(36).Text(), "2001:db8:f000::");
}

}  // namespace
}  // namespace kata::agent
