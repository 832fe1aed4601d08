// SPDX-License-Identifier: Apache-2.0
// The network of a namespace that each test makes for itself, with a pair of veth devices. What there is then, the
// program ip says. Needs root, or the right to make a user namespace.
#pragma once

#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>
#include <absl/strings/str_split.h>
#include <gtest/gtest.h>

#include "agent/network/guest_network.h"
#include "agent/network/kernel_network.h"
#include "agent/test/control_files.h"
#include "proto/base/fd.h"

namespace kata::agent {

inline constexpr char kMac0[] = "02:00:00:00:00:01";
inline constexpr char kMac1[] = "02:00:00:00:00:02";

// False: not to be had here.
inline bool EnterNewNamespace() {
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
inline Output RunIp(const std::string& words) {
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

inline void Ip(const std::string& words) {
  const Output output = RunIp(words);
  EXPECT_EQ(output.exit, 0) << "ip " << words << ": " << output.text;
}

inline std::string Show(const std::string& words) { return RunIp(words).text; }

// "inet 10.1.2.3/24 brd 10.1.2.255 scope global eth0", sorted, without the lifetimes.
inline std::set<std::string> AddressesOf(const std::string& name) {
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

inline std::set<std::string> Lines(const std::string& words) {
  const std::string text = Show(words);
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  return {lines.begin(), lines.end()};
}

inline std::string Mac(const std::string& text) {
  std::string out;
  for (const std::string& byte : std::vector<std::string>(absl::StrSplit(text, ':'))) {
    out += static_cast<char>(std::stoi(byte, nullptr, 16));
  }
  return out;
}

inline v1::NetworkInterface& AddInterface(v1::SetNetworkRequest& request, const std::string& mac,
                                          const std::string& name) {
  auto& out = *request.add_interfaces();
  out.set_mac(Mac(mac));
  out.set_name(name);
  out.set_is_up(true);
  return out;
}

inline v1::NetworkAddress& AddAddress(v1::NetworkInterface& interface, const std::string& address,
                                      uint32_t prefix_length) {
  auto& out = *interface.add_addresses();
  out.set_address(address);
  out.set_prefix_length(prefix_length);
  return out;
}

// `destination` empty: default.
inline v1::NetworkRoute& AddRoute(v1::SetNetworkRequest& request, int family, const std::string& destination,
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

inline v1::NetworkNeighbour& AddNeighbour(v1::SetNetworkRequest& request, const std::string& address,
                                          const std::string& interface, const std::string& mac) {
  auto& out = *request.add_neighbours();
  out.set_address(address);
  out.set_interface(interface);
  out.set_mac(Mac(mac));
  return out;
}

// eth0 with an address of each family.
inline v1::SetNetworkRequest OneInterface() {
  v1::SetNetworkRequest out;
  auto& interface = AddInterface(out, kMac0, "eth0");
  AddAddress(interface, "10.1.2.3", 24);
  AddAddress(interface, "2001:db8::3", 64);
  return out;
}

inline Co<void> Into(absl::Status* out, Co<absl::Status> task) { *out = co_await std::move(task); }

inline Co<void> SetBoth(GuestNetwork* network, v1::SetNetworkRequest first, v1::SetNetworkRequest second,
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

}  // namespace kata::agent
