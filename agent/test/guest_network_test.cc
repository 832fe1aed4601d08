// SPDX-License-Identifier: Apache-2.0
// The network of a namespace that each test makes for itself, with a pair of veth devices. What there is then, the
// program ip says. Needs root, or the right to make a user namespace.
#include "agent/network/guest_network.h"

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <set>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>
#include <absl/strings/str_split.h>
#include <gtest/gtest.h>

#include "agent/network/kernel_network.h"
#include "agent/test/control_files.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

using std::chrono::milliseconds;

constexpr char kMac0[] = "02:00:00:00:00:01";
constexpr char kMac1[] = "02:00:00:00:00:02";

// False: not to be had here.
bool EnterNewNamespace() {
  const std::string uid = std::to_string(::geteuid());
  if (::unshare(CLONE_NEWNET) == 0) return true;
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  return WriteExisting("/proc/self/uid_map", "0 " + uid + " 1").ok();
}

struct Output {
  int exit = -1;
  std::string text;
};

// Runs `ip WORDS`: the lines without blanks at their ends, and without what the other device's state makes of routes.
Output RunIp(const std::string& words) {
  Output out;
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(("ip " + words + " 2>&1").c_str(), "r"), ::pclose);
  if (pipe == nullptr) return out;
  std::string text;
  char buffer[4096];
  while (size_t size = ::fread(buffer, 1, sizeof(buffer), pipe.get())) text.append(buffer, size);
  out.exit = ::pclose(pipe.release());
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::string kept = absl::StrReplaceAll(line, {{" linkdown", ""}});
    absl::StrAppend(&out.text, absl::StripTrailingAsciiWhitespace(kept), "\n");
  }
  return out;
}

void Ip(const std::string& words) {
  const Output output = RunIp(words);
  EXPECT_EQ(output.exit, 0) << "ip " << words << ": " << output.text;
}

std::string Show(const std::string& words) { return RunIp(words).text; }

// "inet 10.1.2.3/24 brd 10.1.2.255 scope global eth0", sorted, without the lifetimes.
std::set<std::string> AddressesOf(const std::string& name) {
  std::set<std::string> out;
  for (absl::string_view line : absl::StrSplit(Show("-o addr show dev " + name), '\n', absl::SkipEmpty())) {
    // Before the backslash: in place of a line's end.
    const std::vector<std::string> words = absl::StrSplit(line.substr(0, line.find('\\')), ' ', absl::SkipEmpty());
    std::vector<std::string> kept;
    for (size_t i = 2; i < words.size(); ++i) {
      if (words[i] != name && words[i] != "nodad") kept.push_back(words[i]);
    }
    out.insert(absl::StrJoin(kept, " "));
  }
  return out;
}

std::set<std::string> Lines(const std::string& words) {
  const std::string text = Show(words);
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  return {lines.begin(), lines.end()};
}

std::string Mac(const std::string& text) {
  std::string out;
  for (const std::string& byte : std::vector<std::string>(absl::StrSplit(text, ':'))) {
    out += static_cast<char>(std::stoi(byte, nullptr, 16));
  }
  return out;
}

v1::NetworkInterface& AddInterface(v1::SetNetworkRequest& request, const std::string& mac, const std::string& name) {
  auto& out = *request.add_interfaces();
  out.set_mac(Mac(mac));
  out.set_name(name);
  out.set_is_up(true);
  return out;
}

v1::NetworkAddress& AddAddress(v1::NetworkInterface& interface, const std::string& address, uint32_t prefix_length) {
  auto& out = *interface.add_addresses();
  out.set_address(address);
  out.set_prefix_length(prefix_length);
  return out;
}

// `destination` empty: default.
v1::NetworkRoute& AddRoute(v1::SetNetworkRequest& request, int family, const std::string& destination,
                           uint32_t prefix_length, const std::string& gateway, const std::string& interface) {
  auto& out = *request.add_routes();
  out.set_family(static_cast<uint32_t>(family));
  out.set_destination(destination);
  out.set_prefix_length(prefix_length);
  out.set_gateway(gateway);
  out.set_interface(interface);
  out.set_table(RT_TABLE_MAIN);
  out.set_type(RTN_UNICAST);
  if (family == AF_INET && gateway.empty()) out.set_scope(RT_SCOPE_LINK);
  return out;
}

v1::NetworkNeighbour& AddNeighbour(v1::SetNetworkRequest& request, const std::string& address,
                                   const std::string& interface, const std::string& mac) {
  auto& out = *request.add_neighbours();
  out.set_address(address);
  out.set_interface(interface);
  out.set_mac(Mac(mac));
  return out;
}

// eth0 with an address of each family.
v1::SetNetworkRequest OneInterface() {
  v1::SetNetworkRequest out;
  auto& interface = AddInterface(out, kMac0, "eth0");
  AddAddress(interface, "10.1.2.3", 24);
  AddAddress(interface, "2001:db8::3", 64);
  return out;
}

Co<void> Into(absl::Status* out, Co<absl::Status> task) { *out = co_await std::move(task); }

Co<void> SetBoth(GuestNetwork* network, v1::SetNetworkRequest first, v1::SetNetworkRequest second,
                 std::vector<std::string>* ended) {
  auto executor = co_await asio::this_coro::executor;
  auto done = std::make_shared<Latch>(executor);
  auto note = [ended, done](const char* name, const absl::Status& status) {
    ended->push_back(absl::StrCat(name, " ", status.ToString()));
    if (ended->size() == 2) done->Set();
  };
  asio::co_spawn(executor, network->Set(std::move(first)),
                 [note](std::exception_ptr, const absl::Status& status) { note("first", status); });
  asio::co_spawn(executor, network->Set(std::move(second)),
                 [note](std::exception_ptr, const absl::Status& status) { note("second", status); });
  co_await done->Wait();
}

class GuestNetworkTest : public testing::Test {
 protected:
  void SetUp() override {
    if (RunIp("-V").exit != 0) GTEST_SKIP() << "needs the program ip";
    if (!EnterNewNamespace()) GTEST_SKIP() << "needs the right to make a network namespace";
    const Output made =
        RunIp(absl::StrCat("link add plug0 address ", kMac0, " type veth peer name plug1 address ", kMac1));
    if (made.exit != 0) GTEST_SKIP() << "needs veth: " << made.text;
    if (::access("/proc/sys/net/ipv6/conf/plug0/accept_ra", W_OK) != 0) GTEST_SKIP() << "needs IPv6, and its settings";
    Ip("link set lo up");
    Make(GuestNetworkOptions());
  }

  void Make(GuestNetworkOptions options) {
    network_ = std::make_unique<GuestNetwork>(context_.get_executor(), std::move(options));
  }

  absl::Status Set(const v1::SetNetworkRequest& request) {
    absl::Status status = absl::UnknownError("not run");
    RunCo(context_, Into(&status, network_->Set(request)));
    return status;
  }

  // Sets it, and wants the kernel's state to compare equal with the request: the next call would then change nothing.
  void SetAndCompare(const v1::SetNetworkRequest& request) {
    const absl::Status status = Set(request);
    ASSERT_TRUE(status.ok()) << status;
    const absl::StatusOr<NetworkPlan> plan = PlanNetwork(request);
    absl::StatusOr<KernelNetwork> kernel = KernelNetwork::Open();
    ASSERT_TRUE(plan.ok() && kernel.ok());
    const absl::StatusOr<std::vector<Link>> links = kernel->Links();
    ASSERT_TRUE(links.ok()) << links.status();
    KernelNetwork::Indices indices;
    for (const Interface& interface : plan->interfaces) {
      for (const Link& link : *links) {
        if (link.name != interface.name) continue;
        indices[link.name] = link.index;
        EXPECT_EQ(link.mac, interface.mac);
        EXPECT_EQ(link.is_up, interface.is_up);
        EXPECT_EQ(Sorted(kernel->Addresses(link)), Sorted<InterfaceAddress>(interface.addresses));
      }
    }
    EXPECT_EQ(indices.size(), plan->interfaces.size());
    EXPECT_EQ(Sorted(kernel->Routes(indices)), Sorted<Route>(plan->routes));
    EXPECT_EQ(Sorted(kernel->Neighbours(indices)), Sorted<Neighbour>(plan->neighbours));
  }

  template <typename T>
  static std::multiset<T> Sorted(const absl::StatusOr<std::vector<T>>& from) {
    if (from.ok()) return {from->begin(), from->end()};
    ADD_FAILURE() << from.status();
    return {};
  }

  asio::io_context context_{1};
  std::unique_ptr<GuestNetwork> network_;
};

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
