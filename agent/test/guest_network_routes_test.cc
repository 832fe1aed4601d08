// SPDX-License-Identifier: Apache-2.0
// Routes of a guest.
#include "agent/test/guest_network_fixture.h"

namespace kata::agent {
namespace {

TEST_F(GuestNetworkTest, SetsRoutesOfEachKind) {
  v1::SetNetworkRequest request = OneInterface();
  AddAddress(*request.mutable_interfaces(0), "10.1.2.4", 24);
  AddRoute(request, AF_INET, "", 0, "10.1.2.1", "eth0");
  AddRoute(request, AF_INET, "", 0, "10.1.2.2", "eth0").set_metric(50);
  AddRoute(request, AF_INET, "169.254.1.1", 32, "", "eth0");
  AddRoute(request, AF_INET, "10.7.0.0", 16, "192.0.2.1", "eth0").set_is_onlink(true);
  AddRoute(request, AF_INET, "10.8.0.0", 16, "10.1.2.1", "eth0").set_source("10.1.2.4");
  AddRoute(request, AF_INET, "10.9.0.0", 16, "10.1.2.1", "eth0").set_mtu(1300);
  AddRoute(request, AF_INET, "10.10.0.0", 16, "10.1.2.1", "eth0").set_table(1000);
  auto& blackhole = AddRoute(request, AF_INET, "10.11.0.0", 16, "", "");
  blackhole.set_type(RTN_BLACKHOLE);
  blackhole.set_scope(RT_SCOPE_UNIVERSE);
  AddRoute(request, AF_INET6, "", 0, "2001:db8::1", "eth0");
  AddRoute(request, AF_INET6, "2001:db8:1::", 48, "", "eth0").set_metric(77);
  AddRoute(request, AF_INET6, "2001:db8:2::", 48, "fe80::1", "eth0").set_source("2001:db8::3");
  AddRoute(request, AF_INET6, "2001:db8:3::", 48, "", "").set_type(RTN_UNREACHABLE);

  SetAndCompare(request);

  EXPECT_EQ(Lines("-4 route show table all proto static"),
            (std::set<std::string>{"default via 10.1.2.1 dev eth0", "default via 10.1.2.2 dev eth0 metric 50",
                                   "169.254.1.1 dev eth0 scope link", "10.7.0.0/16 via 192.0.2.1 dev eth0 onlink",
                                   "10.8.0.0/16 via 10.1.2.1 dev eth0 src 10.1.2.4",
                                   "10.9.0.0/16 via 10.1.2.1 dev eth0 mtu 1300",
                                   "10.10.0.0/16 via 10.1.2.1 dev eth0 table 1000", "blackhole 10.11.0.0/16"}));
  const std::string ipv6 = Show("-6 route show table all proto static");
  for (const char* line : {"default via 2001:db8::1 dev eth0 metric 1024", "2001:db8:1::/48 dev eth0 metric 77",
                           "2001:db8:2::/48 via fe80::1 dev eth0 src 2001:db8::3 metric 1024",
                           "unreachable 2001:db8:3::/48 dev lo metric 1024"}) {
    EXPECT_TRUE(absl::StrContains(ipv6, line)) << line << " is not in\n" << ipv6;
  }
}

TEST_F(GuestNetworkTest, RoutesOfOneKeyStandBesideEachOther) {
  v1::SetNetworkRequest request = OneInterface();
  AddAddress(AddInterface(request, kMac1, "eth1"), "10.1.3.3", 24);
  AddRoute(request, AF_INET, "10.7.0.0", 16, "", "eth0");
  AddRoute(request, AF_INET, "10.7.0.0", 16, "", "eth1");
  AddRoute(request, AF_INET6, "2001:db8:1::", 48, "", "eth0");
  AddRoute(request, AF_INET6, "2001:db8:1::", 48, "", "eth1");
  AddRoute(request, AF_INET6, "2001:db8:2::", 48, "2001:db8::1", "eth0");
  AddRoute(request, AF_INET6, "2001:db8:2::", 48, "2001:db8::2", "eth0");
  SetAndCompare(request);

  // The first one was lost meanwhile.
  Ip("route del 10.7.0.0/16 dev eth0");
  SetAndCompare(request);
  request.mutable_routes()->DeleteSubrange(5, 1);
  request.mutable_routes()->DeleteSubrange(0, 1);
  SetAndCompare(request);
}

v1::NetworkNextHop& AddHop(v1::NetworkRoute& route, const std::string& gateway, const std::string& interface,
                           uint32_t weight) {
  auto& out = *route.add_next_hops();
  out.set_gateway(gateway);
  out.set_interface(interface);
  out.set_weight(weight);
  return out;
}

TEST_F(GuestNetworkTest, SetsRoutesWithSeveralNextHops) {
  v1::SetNetworkRequest request = OneInterface();
  AddAddress(AddInterface(request, kMac1, "eth1"), "10.1.3.3", 24);
  AddAddress(*request.mutable_interfaces(1), "2001:db8:3::3", 64);
  auto& route = AddRoute(request, AF_INET, "10.7.0.0", 16, "", "");
  route.set_scope(RT_SCOPE_UNIVERSE);
  AddHop(route, "10.1.3.1", "eth1", 4);
  AddHop(route, "10.1.2.1", "eth0", 0);
  AddHop(route, "192.0.2.1", "eth0", 0).set_is_onlink(true);
  auto& ipv6 = AddRoute(request, AF_INET6, "2001:db8:7::", 48, "", "");
  AddHop(ipv6, "2001:db8::1", "eth0", 1);
  AddHop(ipv6, "2001:db8:3::1", "eth1", 0);
  SetAndCompare(request);
  const std::string ipv4_text = Show("route show 10.7.0.0/16");
  for (const char* line : {"nexthop via 10.1.2.1 dev eth0 weight 1", "nexthop via 10.1.3.1 dev eth1 weight 5",
                           "nexthop via 192.0.2.1 dev eth0 weight 1 onlink"}) {
    EXPECT_TRUE(absl::StrContains(ipv4_text, line)) << line << " is not in\n" << ipv4_text;
  }
  const std::string ipv6_text = Show("-6 route show 2001:db8:7::/48");
  for (const char* line :
       {"nexthop via 2001:db8::1 dev eth0 weight 2", "nexthop via 2001:db8:3::1 dev eth1 weight 1"}) {
    EXPECT_TRUE(absl::StrContains(ipv6_text, line)) << line << " is not in\n" << ipv6_text;
  }

  // One of them goes, and the routes.
  request.mutable_routes(0)->mutable_next_hops()->DeleteSubrange(0, 1);
  request.mutable_routes(1)->mutable_next_hops()->DeleteSubrange(1, 1);
  SetAndCompare(request);
  request.clear_routes();
  SetAndCompare(request);
  EXPECT_EQ(Show("route show 10.7.0.0/16"), "");
  EXPECT_EQ(Show("-6 route show 2001:db8:7::/48"), "");
}

TEST_F(GuestNetworkTest, AGatewayMayBeOfTheOtherFamily) {
  v1::SetNetworkRequest request = OneInterface();
  AddAddress(AddInterface(request, kMac1, "eth1"), "10.1.3.3", 24);
  AddRoute(request, AF_INET, "10.7.0.0", 16, "fe80::1", "eth0").set_scope(RT_SCOPE_UNIVERSE);
  auto& several = AddRoute(request, AF_INET, "10.8.0.0", 16, "", "");
  several.set_scope(RT_SCOPE_UNIVERSE);
  AddHop(several, "fe80::1", "eth0", 0);
  AddHop(several, "10.1.3.1", "eth1", 0);
  SetAndCompare(request);
  EXPECT_EQ(Show("route show 10.7.0.0/16"), "10.7.0.0/16 via inet6 fe80::1 dev eth0 proto static\n");
  const std::string text = Show("route show 10.8.0.0/16");
  EXPECT_TRUE(absl::StrContains(text, "nexthop via inet6 fe80::1 dev eth0 weight 1")) << text;
  request.clear_routes();
  SetAndCompare(request);
  EXPECT_EQ(Show("route show 10.8.0.0/16"), "");
}

TEST_F(GuestNetworkTest, ARouteThatTheKernelMadeItselfMayBeNamed) {
  v1::SetNetworkRequest request = OneInterface();
  auto& route = AddRoute(request, AF_INET, "10.1.2.0", 24, "", "eth0");
  route.set_source("10.1.2.3");
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = Set(request);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(Lines("-4 route show 10.1.2.0/24").size(), 1u) << Show("-4 route show");
  }
}

}  // namespace
}  // namespace kata::agent
