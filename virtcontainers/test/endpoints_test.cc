// SPDX-License-Identifier: Apache-2.0
// A pod's interfaces in a network namespace that each test makes for itself. What there is then, ip and tc say. Needs
// root and /dev/net/tun.
#include "virtcontainers/network/endpoints.h"
#include "virtcontainers/network/network_monitor.h"

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kOwner[] = "pod1";
constexpr char kOther[] = "pod10";

class EndpointsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::access("/dev/net/tun", F_OK) != 0) GTEST_SKIP() << "not root, or no /dev/net/tun";
    auto made = NetworkNamespace::Open("");
    ASSERT_TRUE(made.ok()) << made.status();
    place_ = *made;
    path_ = absl::StrCat("/proc/", ::getpid(), "/fd/", place_->fd());
    Do("ip link add eth0 index 40 mtu 1400 address 02:00:00:00:00:01 type veth peer name other");
    Do("ip link set eth0 up");
  }

  // What a shell says, run in the namespace.
  std::string Say(const std::string& words) const {
    std::string text;
    const absl::Status status = place_->Run([&] {
      std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen((words + " 2>&1").c_str(), "r"), ::pclose);
      char buffer[4096];
      while (size_t size = ::fread(buffer, 1, sizeof(buffer), pipe.get())) text.append(buffer, size);
      const int exit = ::pclose(pipe.release());
      return exit == 0 ? absl::OkStatus() : absl::UnknownError(text);
    });
    EXPECT_TRUE(status.ok()) << words << ": " << status;
    return text;
  }
  void Do(const std::string& words) const { Say(words); }

  absl::StatusOr<std::shared_ptr<Endpoints>> Join(const std::string& owner = kOwner,
                                                  NetworkModel model = NetworkModel::kTcFilter) const {
    auto endpoints = std::make_shared<Endpoints>(place_, path_, model, owner, Record());
    absl::Status status = endpoints->Follow();
    if (status.ok()) return endpoints;
    endpoints->Remove().IgnoreError();
    return status;
  }
  std::string Record() const { return directory_.path() + "/network"; }
  std::string Ingress() const { return Say("tc qdisc show dev eth0 ingress; tc filter show dev eth0 ingress"); }

  TestDirectory directory_;
  std::shared_ptr<const NetworkNamespace> place_;
  std::string path_;
};

TEST_F(EndpointsTest, JoinsAnInterfaceToATapBothWays) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_THAT(Say("ip link show kata40"), HasSubstr("mtu 1400"));
  EXPECT_THAT(Say("ip link show kata40"), HasSubstr(",UP"));
  EXPECT_EQ(Say("ip -6 addr show dev kata40"), "");  // the namespace's kernel is silent there
  EXPECT_THAT(Ingress(), HasSubstr("Egress Redirect to device kata40"));
  EXPECT_THAT(Say("tc filter show dev kata40 ingress"), HasSubstr("Egress Redirect to device eth0"));
  ASSERT_EQ((*endpoints)->all().size(), 1U);
  EXPECT_EQ((*endpoints)->all()[0]->tap.name, "kata40");
  EXPECT_EQ((*endpoints)->all()[0]->interface.mac, "02:00:00:00:00:01");
  EXPECT_TRUE((*endpoints)->Remove().ok());
  EXPECT_EQ(Ingress(), "");
  EXPECT_THAT(Say("ip link"), Not(HasSubstr("kata40")));
  EXPECT_THAT(Say("ip link show eth0"), HasSubstr(",UP"));
}

TEST_F(EndpointsTest, TellsTheGuestWhatIsThere) {
  Do("ip addr add 10.1.0.2/24 brd 10.1.0.255 dev eth0");
  Do("ip addr add 2001:db8::2/64 dev eth0 nodad");
  Do("ip route add default via 10.1.0.1 dev eth0 metric 7");
  Do("ip route add 192.0.2.0/24 dev eth0 scope link src 10.1.0.2 mtu 1300");
  Do("ip route add 198.51.100.0/24 via 203.0.113.1 dev eth0 onlink");
  Do("ip route add blackhole 203.0.113.0/24");
  Do("ip -6 route add default via fe80::1 dev eth0");
  Do("ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent");
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  const agent::v1::SetNetworkRequest& request = (*endpoints)->ForGuest();
  ASSERT_EQ(request.interfaces_size(), 1);
  const agent::v1::NetworkInterface& interface = request.interfaces(0);
  EXPECT_EQ(interface.mac(), std::string("\x02\0\0\0\0\x01", 6));
  EXPECT_EQ(interface.name(), "eth0");
  EXPECT_EQ(interface.mtu(), 1400U);
  EXPECT_TRUE(interface.is_up());
  std::map<std::string, agent::v1::NetworkAddress> addresses;
  for (const agent::v1::NetworkAddress& address : interface.addresses()) addresses[address.address()] = address;
  EXPECT_EQ(addresses["10.1.0.2"].prefix_length(), 24U);
  EXPECT_EQ(addresses["10.1.0.2"].broadcast(), "10.1.0.255");
  EXPECT_EQ(addresses["10.1.0.2"].peer(), "");
  EXPECT_EQ(addresses["2001:db8::2"].prefix_length(), 64U);
  std::map<std::string, agent::v1::NetworkRoute> routes;
  bool is_gateway_seen = false;
  for (const agent::v1::NetworkRoute& route : request.routes()) {
    routes[absl::StrCat(route.family() == AF_INET ? "4 " : "6 ", route.destination())] = route;
    EXPECT_TRUE(!is_gateway_seen || !route.gateway().empty()) << "a link's route after a gateway's";
    is_gateway_seen = !route.gateway().empty();
  }
  EXPECT_EQ(routes.size(), 5U);  // without the kernel's own
  EXPECT_EQ(routes["4 "].gateway(), "10.1.0.1");
  EXPECT_EQ(routes["4 "].metric(), 7U);
  EXPECT_EQ(routes["4 "].interface(), "eth0");
  EXPECT_EQ(routes["4 192.0.2.0"].prefix_length(), 24U);
  EXPECT_EQ(routes["4 192.0.2.0"].scope(), static_cast<uint32_t>(RT_SCOPE_LINK));
  EXPECT_EQ(routes["4 192.0.2.0"].source(), "10.1.0.2");
  EXPECT_EQ(routes["4 192.0.2.0"].mtu(), 1300U);
  EXPECT_TRUE(routes["4 198.51.100.0"].is_onlink());
  EXPECT_EQ(routes["4 203.0.113.0"].type(), static_cast<uint32_t>(RTN_BLACKHOLE));
  EXPECT_EQ(routes["4 203.0.113.0"].interface(), "");
  EXPECT_EQ(routes["6 "].gateway(), "fe80::1");
  ASSERT_EQ(request.neighbours_size(), 1);
  EXPECT_EQ(request.neighbours(0).address(), "10.1.0.9");
  EXPECT_EQ(request.neighbours(0).mac(), std::string("\x02\0\0\0\0\x09", 6));
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

TEST_F(EndpointsTest, TellsTheGuestOfSeveralNextHopsAndOfGatewaysOfTheOtherFamily) {
  Do("ip link add eth1 index 50 type veth peer name peer1");
  Do("ip link set eth1 up");
  Do("ip addr add 10.1.0.2/24 dev eth0");
  Do("ip addr add 10.2.0.2/24 dev eth1");
  Do("ip route add 192.0.2.0/24 nexthop via 10.1.0.1 weight 5 nexthop via 10.2.0.1 nexthop dev lo");
  Do("ip route add 198.51.100.0/24 via inet6 fe80::1 dev eth0");
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  std::map<std::string, agent::v1::NetworkRoute> routes;
  for (const agent::v1::NetworkRoute& route : (*endpoints)->ForGuest().routes()) routes[route.destination()] = route;
  const agent::v1::NetworkRoute& several = routes["192.0.2.0"];
  EXPECT_EQ(several.gateway() + several.interface(), "");
  ASSERT_EQ(several.next_hops_size(), 2);  // lo is the guest's own
  EXPECT_EQ(several.next_hops(0).gateway(), "10.1.0.1");
  EXPECT_EQ(several.next_hops(0).interface(), "eth0");
  EXPECT_EQ(several.next_hops(0).weight(), 4U);
  EXPECT_EQ(several.next_hops(1).interface(), "eth1");
  EXPECT_EQ(several.next_hops(1).weight(), 0U);
  EXPECT_EQ(routes["198.51.100.0"].gateway(), "fe80::1");
  EXPECT_EQ(routes["198.51.100.0"].interface(), "eth0");
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

TEST_F(EndpointsTest, SaysWhichAddressHasNoRouteToItsNetwork) {
  Do("ip addr add 10.1.0.2/24 dev eth0");
  Do("ip addr add 10.2.0.2/24 dev eth0");
  Do("ip addr add 10.3.0.2/32 dev eth0");
  Do("ip addr add 10.4.0.2 peer 10.5.0.1/24 dev eth0");
  Do("ip addr add 2001:db8::2/60 dev eth0 nodad");
  Do("ip addr add 2001:db9::2/64 dev eth0 nodad noprefixroute");
  Do("ip route del 10.2.0.0/24");
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  std::vector<std::string> without;
  for (const agent::v1::NetworkAddress& address : (*endpoints)->ForGuest().interfaces(0).addresses()) {
    if (address.has_no_route()) without.push_back(address.address());
  }
  EXPECT_THAT(without, testing::UnorderedElementsAre("10.2.0.2", "2001:db9::2"));
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

TEST_F(EndpointsTest, LeavesTheQueuesLength) {
  Do("ip link set eth0 txqlen 0");
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_THAT(Say("ip link show eth0"), Not(HasSubstr("qlen")));
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

TEST_F(EndpointsTest, FollowsWhatComesAndGoes) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  Do("ip link add eth1 index 50 address 02:00:00:00:00:05 type veth peer name peer1");
  Do("ip link set eth1 up");
  Do("ip addr add 10.9.0.2/24 dev eth1");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  EXPECT_EQ((*endpoints)->all().size(), 2U);  // not the taps themselves
  EXPECT_THAT(Say("tc filter show dev eth1 ingress"), HasSubstr("Egress Redirect to device kata50"));
  EXPECT_EQ((*endpoints)->ForGuest().interfaces_size(), 2);
  Do("ip link set eth1 down");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  ASSERT_EQ((*endpoints)->ForGuest().interfaces_size(), 2);
  EXPECT_FALSE((*endpoints)->ForGuest().interfaces(1).is_up());
  // Another hardware address is another card.
  Do("ip link set eth1 address 02:00:00:00:00:06 up");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  ASSERT_EQ((*endpoints)->all().size(), 2U);
  EXPECT_EQ((*endpoints)->all()[1]->interface.mac, "02:00:00:00:00:06");
  EXPECT_THAT(Say("tc filter show dev eth1 ingress"), HasSubstr("Egress Redirect to device kata50"));
  Do("ip link del eth1");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  EXPECT_EQ((*endpoints)->all().size(), 1U);
  EXPECT_THAT(Say("ip link"), Not(HasSubstr("kata50")));
  EXPECT_TRUE((*endpoints)->Remove().ok());
  EXPECT_EQ(Ingress(), "");
}

TEST_F(EndpointsTest, WhatCannotBeCarriedLeavesTheRest) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  Do("ip link add eth2 index 60 type veth peer name peer2");
  Do("ip link set eth2 address 02:00:00:00:00:01 up");
  Do("ip link add eth3 index 70 type veth peer name peer3");
  Do("ip link set eth3 up");
  Do("ip addr add 10.1.0.7/24 dev eth0");
  EXPECT_THAT(std::string((*endpoints)->Follow().message()), HasSubstr("\"eth2\" has the hardware address"));
  EXPECT_EQ((*endpoints)->all().size(), 2U);
  EXPECT_THAT(Ingress(), HasSubstr("Egress Redirect to device kata40"));
  ASSERT_EQ((*endpoints)->ForGuest().interfaces_size(), 2);
  EXPECT_EQ((*endpoints)->ForGuest().interfaces(0).addresses(0).address(), "10.1.0.7");
  EXPECT_EQ((*endpoints)->ForGuest().interfaces(1).name(), "eth3");
  Do("ip link del eth2");
  EXPECT_TRUE((*endpoints)->Follow().ok());
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

TEST(LeaveOut, TakesWhatBelongsToAnInterface) {
  agent::v1::SetNetworkRequest request;
  for (const char* name : {"eth0", "eth1"}) {
    request.add_interfaces()->set_name(name);
    request.add_routes()->set_interface(name);
    request.add_neighbours()->set_interface(name);
  }
  agent::v1::NetworkRoute& both = *request.add_routes();
  for (const char* name : {"eth0", "eth1"}) both.add_next_hops()->set_interface(name);
  for (int i = 0; i < 2; ++i) request.add_routes()->add_next_hops()->set_interface("eth1");
  request.add_routes()->set_type(RTN_BLACKHOLE);
  LeaveOut({"eth1", "eth2"}, request);
  ASSERT_EQ(request.interfaces_size(), 1);
  EXPECT_EQ(request.interfaces(0).name(), "eth0");
  ASSERT_EQ(request.neighbours_size(), 1);
  ASSERT_EQ(request.routes_size(), 3);
  EXPECT_EQ(request.routes(0).interface(), "eth0");
  ASSERT_EQ(request.routes(1).next_hops_size(), 1);
  EXPECT_EQ(request.routes(1).next_hops(0).interface(), "eth0");
  EXPECT_EQ(request.routes(2).type(), static_cast<uint32_t>(RTN_BLACKHOLE));
}

TEST_F(EndpointsTest, AMonitorHasNews) {
  absl::StatusOr<NetworkMonitor> monitor = absl::UnknownError("not run");
  ASSERT_TRUE(place_
                  ->Run([&monitor] {
                    monitor = NetworkMonitor::Open();
                    return monitor.status();
                  })
                  .ok());
  EXPECT_FALSE(monitor->TakeNews());
  Do("ip link set eth0 mtu 1300");
  EXPECT_TRUE(monitor->TakeNews());
  EXPECT_FALSE(monitor->TakeNews());
  for (int i = 0; i < 4; ++i) Do("ip addr add 10.1.0." + std::to_string(2 + i) + "/24 dev eth0");
  EXPECT_TRUE(monitor->TakeNews());
  Do("ip route add 10.8.0.0/16 dev eth0");
  EXPECT_TRUE(monitor->TakeNews());
  EXPECT_FALSE(monitor->TakeNews());
}

TEST_F(EndpointsTest, WhatAKilledShimHasLeftIsTakenAway) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  endpoints->reset();  // as its end closes the descriptors, and does no more
  EXPECT_THAT(Say("ip link"), Not(HasSubstr("kata40")));
  EXPECT_THAT(Ingress(), HasSubstr("ingress"));
  EXPECT_TRUE(RemoveEndpoints(kOwner, Record()).ok());
  EXPECT_EQ(Ingress(), "");
  EXPECT_TRUE(RemoveEndpoints(kOwner, Record()).ok());
  EXPECT_TRUE(RemoveEndpoints(kOwner, directory_.path() + "/nothing").ok());
}

TEST_F(EndpointsTest, AnotherNamespaceAtThePathIsLeftAlone) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  auto other = NetworkNamespace::Open("");
  ASSERT_TRUE(other.ok());
  // The same number of a descriptor, another namespace.
  UniqueFd kept(::fcntl(place_->fd(), F_DUPFD_CLOEXEC, 0));
  ASSERT_GE(::dup3((*other)->fd(), place_->fd(), O_CLOEXEC), 0);
  EXPECT_TRUE(RemoveEndpoints(kOwner, Record()).ok());
  ASSERT_GE(::dup3(kept.get(), place_->fd(), O_CLOEXEC), 0);
  EXPECT_THAT(Ingress(), HasSubstr("ingress"));
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

TEST_F(EndpointsTest, FiltersOfOthersStay) {
  Do("tc qdisc add dev eth0 ingress");
  Do("tc filter add dev eth0 parent ffff: prio 9 protocol ip u32 match u32 0 0 classid 1:1");
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_THAT(Ingress(), HasSubstr("Egress Redirect"));
  EXPECT_TRUE((*endpoints)->Remove().ok());
  EXPECT_THAT(Ingress(), Not(HasSubstr("Egress Redirect")));
  EXPECT_THAT(Ingress(), HasSubstr("pref 9"));
}

TEST_F(EndpointsTest, TwoMachinesDoNotShareAnInterface) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  const auto second = Join(kOther);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("\"eth0\": its network namespace serves the machine of sandbox \"pod1\" already"));
  EXPECT_THAT(Ingress(), HasSubstr("Egress Redirect to device kata40"));
  // The other one's tap is nobody's interface.
  EXPECT_TRUE((*endpoints)->Follow().ok());
  EXPECT_EQ((*endpoints)->all().size(), 1U);
  // What a killed shim may have meant to leave there is not its.
  EXPECT_TRUE(RemoveEndpoints(kOther, Record()).ok());
  EXPECT_THAT(Ingress(), HasSubstr("Egress Redirect to device kata40"));
  EXPECT_TRUE((*endpoints)->Remove().ok());
  EXPECT_EQ(Ingress(), "");
}

TEST_F(EndpointsTest, AMachineThatHasNotEndedYetIsLeftAsWell) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_TRUE(RemoveEndpoints(kOwner, Record()).ok());
  EXPECT_EQ(Ingress(), "");
}

TEST_F(EndpointsTest, WhatAKilledMachineHasLeftIsTakenOver) {
  auto before = Join();
  ASSERT_TRUE(before.ok()) << before.status();
  before->reset();
  EXPECT_THAT(Ingress(), HasSubstr("ingress"));
  auto endpoints = Join(kOther);
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_THAT(Ingress(), HasSubstr("Egress Redirect to device kata40"));
  // The first one's delete comes late.
  EXPECT_TRUE(RemoveEndpoints(kOwner, Record()).ok());
  EXPECT_THAT(Ingress(), HasSubstr("Egress Redirect to device kata40"));
  EXPECT_TRUE((*endpoints)->Remove().ok());
  EXPECT_EQ(Ingress(), "");
}

TEST_F(EndpointsTest, ATapWhoseInterfaceWentIsNoInterface) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  // As the machine has it, whose card may stay for good.
  UniqueFd kept(::fcntl((*endpoints)->all()[0]->tap.fd.get(), F_DUPFD_CLOEXEC, 0));
  Do("ip link del eth0");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  EXPECT_TRUE((*endpoints)->all().empty());
  Do("ip link add eth1 index 50 type veth peer name peer1");
  Do("ip link set eth1 up");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  ASSERT_EQ((*endpoints)->all().size(), 1U);
  EXPECT_EQ((*endpoints)->all()[0]->interface.name, "eth1");
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

TEST_F(EndpointsTest, ATapsNameMayBeTaken) {
  Do("ip link add kata40 type veth peer name taken");
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_THAT(Ingress(), HasSubstr("Egress Redirect to device kata40-1"));
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

class MacvtapTest : public EndpointsTest {
 protected:
  void SetUp() override {
    EndpointsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!place_
             ->Run([] {
               return std::system("ip link add link eth0 name probe type macvtap 2>/dev/null") == 0 &&
                              std::system("ip link del probe") == 0
                          ? absl::OkStatus()
                          : absl::UnavailableError("no macvtap");
             })
             .ok())
      GTEST_SKIP() << "the kernel has no macvtap";
  }
  absl::StatusOr<std::shared_ptr<Endpoints>> Join(const std::string& owner = kOwner) const {
    return EndpointsTest::Join(owner, NetworkModel::kMacvtap);
  }
};

TEST_F(MacvtapTest, IsOnTheInterfaceAndHasItsAddress) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  const std::string shown = Say("ip -d link show kata40");
  for (const char* words : {"kata40@eth0", "macvtap mode passthru", "link/ether 02:00:00:00:00:01", "mtu 1400", ",UP"})
    EXPECT_THAT(shown, HasSubstr(words));
  EXPECT_EQ(Say("ip -6 addr show dev kata40"), "");
  ASSERT_EQ((*endpoints)->all().size(), 1U);
  EXPECT_EQ(::access(absl::StrCat("/dev/tap", (*endpoints)->all()[0]->tap.index).c_str(), F_OK), 0);
  EXPECT_EQ(Ingress(), "");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  EXPECT_EQ((*endpoints)->all().size(), 1U);
  EXPECT_THAT(std::string(Join(kOther).status().message()),
              HasSubstr("serves the machine of sandbox \"pod1\" already"));
  EXPECT_TRUE((*endpoints)->Remove().ok());
  EXPECT_THAT(Say("ip link"), Not(HasSubstr("kata40")));
  EXPECT_THAT(Say("ip link show eth0"), HasSubstr(",UP"));
}

TEST_F(MacvtapTest, FollowsWhatComesAndGoes) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  Do("ip link add eth1 index 50 address 02:00:00:00:00:05 type veth peer name peer1");
  Do("ip link set eth1 up");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  EXPECT_THAT(Say("ip link"), HasSubstr("kata50@eth1"));
  Do("ip link set eth1 down");
  Do("ip link set eth1 address 02:00:00:00:00:06 up");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  ASSERT_EQ((*endpoints)->all().size(), 2U);
  EXPECT_THAT(Say("ip link show kata50"), HasSubstr("02:00:00:00:00:06"));
  Do("ip link del eth1");
  ASSERT_TRUE((*endpoints)->Follow().ok());
  EXPECT_EQ((*endpoints)->all().size(), 1U);
  EXPECT_TRUE((*endpoints)->Remove().ok());
  EXPECT_THAT(Say("ip link"), Not(HasSubstr("kata")));
}

TEST_F(MacvtapTest, WhatAKilledShimHasLeftIsTakenAway) {
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  endpoints->reset();
  EXPECT_THAT(Say("ip link"), HasSubstr("kata40"));
  EXPECT_TRUE(RemoveEndpoints(kOther, Record()).ok());
  EXPECT_THAT(Say("ip link"), HasSubstr("kata40"));
  EXPECT_TRUE(RemoveEndpoints(kOwner, Record()).ok());
  EXPECT_THAT(Say("ip link"), Not(HasSubstr("kata40")));
}

TEST_F(MacvtapTest, ANameMayBeTaken) {
  Do("ip link add kata40 type veth peer name taken");
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_EQ((*endpoints)->all()[0]->tap.name, "kata40-1");
  EXPECT_TRUE((*endpoints)->Remove().ok());
}

TEST_F(MacvtapTest, AnInterfaceWithAMacvlanIsNamed) {
  Do("ip link add link eth0 name child type macvlan mode bridge");
  EXPECT_THAT(std::string(Join().status().message()),
              AllOf(HasSubstr("interface \"eth0\""), HasSubstr("that is a macvlan or has one")));
  EXPECT_THAT(Say("ip link"), Not(HasSubstr("kata40")));
}

TEST_F(EndpointsTest, WhatIsDownIsNotThePodsYet) {
  Do("ip link set eth0 down");
  auto endpoints = Join();
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_EQ((*endpoints)->ForGuest().interfaces_size(), 0);
  EXPECT_TRUE((*endpoints)->all().empty());
  EXPECT_NE(::access(Record().c_str(), F_OK), 0);
}

TEST_F(EndpointsTest, WhatCannotBeCarriedIsNamed) {
  Do("ip tuntap add tunnel mode tun");
  Do("ip link set tunnel up");
  EXPECT_THAT(std::string(Join().status().message()),
              HasSubstr("interface \"tunnel\" (tun): only Ethernet can be carried into a machine"));
  Do("ip link del tunnel");
  Do("ip link add twin address 02:00:00:00:00:01 type veth peer name twins");
  Do("ip link set twin up");
  EXPECT_THAT(std::string(Join().status().message()),
              HasSubstr("has the hardware address 02:00:00:00:00:01 of another"));
  EXPECT_EQ(Ingress(), "");
}

}  // namespace
}  // namespace kata::virtcontainers
