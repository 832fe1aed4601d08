// SPDX-License-Identifier: Apache-2.0
#include "agent/test/guest_network_fixture.h"

namespace kata::agent {
namespace {

using std::chrono::milliseconds;

TEST_F(GuestNetworkTest, SetsAddressesAndNoOthers) {
  v1::SetNetworkRequest request;
  auto& interface = AddInterface(request, kMac0, "eth0");
  AddAddress(interface, "10.1.2.3", 24).set_broadcast("10.1.2.255");
  AddAddress(interface, "10.1.2.4", 24);
  AddAddress(interface, "10.9.9.1", 32).set_peer("10.9.9.2");
  AddAddress(interface, "169.254.1.1", 16).set_scope(RT_SCOPE_LINK);
  AddAddress(interface, "2001:db8::3", 64);
  AddAddress(interface, "fe80::7", 64);

  SetAndCompare(request);

  // Neither an address that the kernel made of the MAC, nor one that is not usable yet.
  const std::set<std::string> wanted{"inet 10.1.2.3/24 brd 10.1.2.255 scope global",
                                     "inet 10.1.2.4/24 scope global secondary",
                                     "inet 10.9.9.1 peer 10.9.9.2/32 scope global",
                                     "inet 169.254.1.1/16 scope link",
                                     "inet6 2001:db8::3/64 scope global",
                                     "inet6 fe80::7/64 scope link"};
  EXPECT_EQ(AddressesOf("eth0"), wanted);
  EXPECT_EQ(ReadFile("/proc/sys/net/ipv6/conf/eth0/accept_ra", 16).value_or(""), "0\n");
  EXPECT_EQ(ReadFile("/proc/sys/net/ipv6/conf/eth0/addr_gen_mode", 16).value_or(""), "1\n");
}

TEST_F(GuestNetworkTest, MakesNoRouteToANetworkThatIsNotThere) {
  v1::SetNetworkRequest request;
  auto& interface = AddInterface(request, kMac0, "eth0");
  AddAddress(interface, "10.1.2.3", 24).set_has_no_route(true);
  AddAddress(interface, "2001:db8::3", 64).set_has_no_route(true);
  AddRoute(request, AF_INET, "10.1.2.1", 32, "", "eth0");
  AddRoute(request, AF_INET, "10.1.2.0", 24, "10.1.2.1", "eth0");

  SetAndCompare(request);

  EXPECT_FALSE(absl::StrContains(Show("route"), "proto kernel")) << Show("route");
  EXPECT_FALSE(absl::StrContains(Show("-6 route"), "2001:db8::/64")) << Show("-6 route");
  interface.mutable_addresses(0)->set_has_no_route(false);
  request.clear_routes();
  SetAndCompare(request);
  EXPECT_TRUE(absl::StrContains(Show("route"), "10.1.2.0/24 dev eth0 proto kernel")) << Show("route");
}

TEST_F(GuestNetworkTest, SetsMtuAndState) {
  v1::SetNetworkRequest request = OneInterface();
  request.mutable_interfaces(0)->set_mtu(1400);
  AddInterface(request, kMac1, "eth1").set_is_up(false);
  SetAndCompare(request);
  EXPECT_TRUE(absl::StrContains(Show("-o link show dev eth0"), "mtu 1400 ")) << Show("link");
  EXPECT_TRUE(absl::StrContains(Show("-o link show dev eth1"), "mtu 1500 ")) << Show("link");

  // An MTU that is too small for IPv6, and back.
  request.mutable_interfaces(0)->set_mtu(1000);
  request.mutable_interfaces(0)->mutable_addresses()->RemoveLast();
  SetAndCompare(request);
  request = OneInterface();
  request.mutable_interfaces(0)->set_mtu(1500);
  SetAndCompare(request);
  EXPECT_EQ(AddressesOf("eth0"), (std::set<std::string>{"inet 10.1.2.3/24 scope global",  //
                                                        "inet6 2001:db8::3/64 scope global"}));
}

TEST_F(GuestNetworkTest, SetsNeighbours) {
  v1::SetNetworkRequest request = OneInterface();
  AddNeighbour(request, "10.1.2.1", "eth0", "02:00:00:00:00:aa");
  AddNeighbour(request, "2001:db8::1", "eth0", "02:00:00:00:00:bb");
  SetAndCompare(request);
  EXPECT_EQ(Lines("neigh show dev eth0 nud permanent"),
            (std::set<std::string>{"10.1.2.1 lladdr 02:00:00:00:00:aa PERMANENT",
                                   "2001:db8::1 lladdr 02:00:00:00:00:bb PERMANENT"}));

  request.mutable_neighbours(0)->set_mac(Mac("02:00:00:00:00:cc"));
  request.mutable_neighbours()->RemoveLast();
  SetAndCompare(request);
  EXPECT_EQ(Show("neigh show dev eth0 nud permanent"), "10.1.2.1 lladdr 02:00:00:00:00:cc PERMANENT\n");
}

TEST_F(GuestNetworkTest, TwoInterfacesSwapTheirNames) {
  v1::SetNetworkRequest request = OneInterface();
  AddAddress(AddInterface(request, kMac1, "eth1"), "10.1.3.3", 24);
  SetAndCompare(request);

  request.mutable_interfaces(0)->set_name("eth1");
  request.mutable_interfaces(1)->set_name("eth0");
  SetAndCompare(request);

  EXPECT_TRUE(absl::StrContains(Show("-o link show dev eth0"), kMac1)) << Show("link");
  EXPECT_TRUE(absl::StrContains(Show("-o link show dev eth1"), kMac0)) << Show("link");
  EXPECT_EQ(AddressesOf("eth1"), (std::set<std::string>{"inet 10.1.2.3/24 scope global",  //
                                                        "inet6 2001:db8::3/64 scope global"}));
}

TEST_F(GuestNetworkTest, AnotherInterfaceWithTheNameMovesAwayAndStaysUp) {
  Ip("link set plug1 name eth0");
  Ip("link set eth0 up");
  SetAndCompare(OneInterface());
  const Output moved = RunIp("-o link show | grep -F " + std::string(kMac1));
  EXPECT_TRUE(absl::StrContains(moved.text, "katatmp")) << Show("link");
  EXPECT_TRUE(absl::StrContains(moved.text, ",UP")) << moved.text;
}

TEST_F(GuestNetworkTest, WhatAFormerCallSetGoes) {
  v1::SetNetworkRequest before = OneInterface();
  AddAddress(*before.mutable_interfaces(0), "10.1.2.4", 24);
  AddAddress(*before.mutable_interfaces(0), "10.5.0.1", 16);
  AddAddress(*before.mutable_interfaces(0), "10.6.0.1", 16);
  AddRoute(before, AF_INET, "", 0, "10.1.2.1", "eth0");
  AddRoute(before, AF_INET, "10.7.0.0", 16, "10.5.0.2", "eth0");
  AddRoute(before, AF_INET6, "", 0, "2001:db8::1", "eth0");
  AddRoute(before, AF_INET, "10.11.0.0", 16, "", "").set_type(RTN_BLACKHOLE);
  AddRoute(before, AF_INET6, "2001:db8:3::", 48, "", "").set_type(RTN_BLACKHOLE);
  AddNeighbour(before, "10.1.2.1", "eth0", "02:00:00:00:00:aa");
  before.mutable_routes(3)->set_scope(RT_SCOPE_UNIVERSE);
  SetAndCompare(before);
  Ip("route add 10.20.0.0/16 via 10.6.0.2");  // a program of the guest

  // The address that was secondary is the network's only one now, and its route another.
  v1::SetNetworkRequest after;
  auto& interface = AddInterface(after, kMac0, "eth0");
  AddAddress(interface, "10.6.0.1", 16);
  AddAddress(interface, "10.1.2.4", 24);
  AddRoute(after, AF_INET, "", 0, "10.1.2.9", "eth0");
  SetAndCompare(after);

  EXPECT_EQ(AddressesOf("eth0"), (std::set<std::string>{"inet 10.1.2.4/24 scope global",  //
                                                        "inet 10.6.0.1/16 scope global"}));
  EXPECT_EQ(Lines("-4 route show"), (std::set<std::string>{"default via 10.1.2.9 dev eth0 proto static",
                                                           "10.1.2.0/24 dev eth0 proto kernel scope link src 10.1.2.4",
                                                           "10.6.0.0/16 dev eth0 proto kernel scope link src 10.6.0.1",
                                                           "10.20.0.0/16 via 10.6.0.2 dev eth0"}));
  EXPECT_EQ(Show("-6 route show table all proto static"), "");
  EXPECT_EQ(Show("neigh show dev eth0 nud permanent"), "");
}

TEST_F(GuestNetworkTest, TheOrderOfTwoAddressesOfANetworkCounts) {
  v1::SetNetworkRequest request;
  auto& interface = AddInterface(request, kMac0, "eth0");
  AddAddress(interface, "10.1.2.3", 24);
  AddAddress(interface, "10.1.2.4", 24);
  SetAndCompare(request);
  interface.mutable_addresses()->SwapElements(0, 1);
  SetAndCompare(request);
  EXPECT_EQ(AddressesOf("eth0"), (std::set<std::string>{"inet 10.1.2.3/24 scope global secondary",  //
                                                        "inet 10.1.2.4/24 scope global"}));
}

TEST_F(GuestNetworkTest, AnInterfaceThatIsNotNamedStaysAsItIs) {
  v1::SetNetworkRequest both = OneInterface();
  AddAddress(AddInterface(both, kMac1, "eth1"), "10.1.3.3", 24);
  AddRoute(both, AF_INET, "10.7.0.0", 16, "", "eth1");
  AddNeighbour(both, "10.1.3.1", "eth1", "02:00:00:00:00:aa");
  SetAndCompare(both);
  const auto addresses = AddressesOf("eth1");
  const std::string routes = Show("route show dev eth1");

  SetAndCompare(OneInterface());

  EXPECT_EQ(AddressesOf("eth1"), addresses);
  EXPECT_EQ(Show("route show dev eth1"), routes);
  EXPECT_NE(Show("neigh show dev eth1 nud permanent"), "");
}

TEST_F(GuestNetworkTest, TheSameCallAgainTouchesNothing) {
  v1::SetNetworkRequest request = OneInterface();
  AddAddress(*request.mutable_interfaces(0), "10.1.2.4", 24);
  AddRoute(request, AF_INET, "", 0, "10.1.2.1", "eth0");
  AddRoute(request, AF_INET, "10.8.0.0", 16, "10.1.2.1", "eth0").set_source("10.1.2.4");
  SetAndCompare(request);
  // The kernel tells of changes before it answers the call that makes them.
  UniqueFd events(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE;
  ASSERT_EQ(::bind(events.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  char message[8192];

  SetAndCompare(request);
  EXPECT_EQ(::recv(events.get(), message, sizeof(message), 0), -1) << "there was a change";

  request.mutable_routes()->RemoveLast();
  SetAndCompare(request);
  EXPECT_GT(::recv(events.get(), message, sizeof(message), 0), 0) << "a change was not told";
}

TEST_F(GuestNetworkTest, WaitsForADeviceWithoutHoldingTheThread) {
  Ip("link del plug0");
  // On the same thread: it comes only if that is not held.
  asio::steady_timer timer(context_, milliseconds(100));
  bool has_come = false;
  timer.async_wait([&has_come](boost::system::error_code) {
    Ip(absl::StrCat("link add late type veth peer name other address ", kMac0));
    has_come = true;
  });
  SetAndCompare(OneInterface());
  EXPECT_TRUE(has_come);
}

TEST_F(GuestNetworkTest, ADeviceThatDoesNotComeIsNamed) {
  Make({.interface_timeout = milliseconds(30)});
  v1::SetNetworkRequest request = OneInterface();
  AddInterface(request, "02:00:00:00:00:77", "eth1");
  const absl::Status status = Set(request);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_EQ(status.message(),
            "waiting for interface \"eth1\" with mac \"02:00:00:00:00:77\": it did not come in 30 ms");
  // Nothing is set before all are there.
  EXPECT_EQ(Show("-o addr show dev plug0"), "");
}

TEST_F(GuestNetworkTest, CallsTakeEffectInTheirOrder) {
  Ip("link del plug0");
  asio::steady_timer timer(context_, milliseconds(50));
  timer.async_wait([](boost::system::error_code) {
    Ip(absl::StrCat("link add plug0 address ", kMac0, " type veth peer name plug1 address ", kMac1));
  });
  // The first has to wait; the second could go on at once, as it names nothing.
  v1::SetNetworkRequest first = OneInterface();
  AddRoute(first, AF_INET, "10.11.0.0", 16, "", "").set_type(RTN_BLACKHOLE);
  first.mutable_routes(0)->set_scope(RT_SCOPE_UNIVERSE);
  std::vector<std::string> ended;
  RunCo(context_, SetBoth(network_.get(), first, v1::SetNetworkRequest(), &ended));
  EXPECT_EQ(ended, (std::vector<std::string>{"first OK", "second OK"}));
  EXPECT_EQ(Show("-4 route show type blackhole"), "");
}

TEST_F(GuestNetworkTest, ACallAfterOneThatFailedIsServed) {
  Make({.interface_timeout = milliseconds(1)});
  v1::SetNetworkRequest request;
  AddInterface(request, "02:00:00:00:00:77", "eth1");
  EXPECT_TRUE(absl::IsDeadlineExceeded(Set(request)));
  EXPECT_TRUE(absl::IsInvalidArgument(Set([] {
    v1::SetNetworkRequest bad = OneInterface();
    bad.mutable_interfaces(0)->clear_mac();
    return bad;
  }())));
  SetAndCompare(OneInterface());
}

TEST_F(GuestNetworkTest, WhatTheKernelRefusesIsNamed) {
  v1::SetNetworkRequest request = OneInterface();
  AddRoute(request, AF_INET, "", 0, "192.0.2.1", "eth0");
  absl::Status status = Set(request);
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_EQ(
      std::string(status.message()).rfind("setting route \"default via 192.0.2.1\" of \"eth0\": network is unreach", 0),
      0u)
      << status;

  request = OneInterface();
  AddAddress(*request.mutable_interfaces(0), "ff02::1", 64);
  status = Set(request);
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_EQ(std::string(status.message()).rfind("setting address \"ff02::1/64\" of \"eth0\": cannot assign", 0), 0u)
      << status;

  request = OneInterface();
  request.mutable_interfaces(0)->set_mtu(20);
  status = Set(request);
  EXPECT_EQ(std::string(status.message()).rfind("setting mtu \"20\" of \"eth0\": invalid argument", 0), 0u) << status;
}

TEST_F(GuestNetworkTest, WithoutIpv6OnlyItsAddressesFail) {
  Make({.ipv6_settings = "/proc/sys/net/none"});
  v1::SetNetworkRequest request = OneInterface();
  const absl::Status status = Set(request);
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_EQ(status.message(), "setting address \"2001:db8::3/64\" of \"eth0\": the interface has no IPv6");

  request.mutable_interfaces(0)->mutable_addresses()->RemoveLast();
  EXPECT_TRUE(Set(request).ok());
  EXPECT_TRUE(AddressesOf("eth0").count("inet 10.1.2.3/24 scope global") == 1) << Show("addr");
}

}  // namespace
}  // namespace kata::agent
