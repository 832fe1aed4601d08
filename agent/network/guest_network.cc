// SPDX-License-Identifier: Apache-2.0
#include "agent/network/guest_network.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_cat.h>

#include "agent/network/kernel_network.h"
#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

// Between two looks for a device that is not there.
constexpr std::chrono::milliseconds kInterfacePoll{10};
constexpr char kTemporaryName[] = "katatmp";  // and the interface's index

Link* FindByName(std::vector<Link>& links, const std::string& name) {
  auto found = std::find_if(links.begin(), links.end(), [&name](const Link& link) { return link.name == name; });
  return found == links.end() ? nullptr : &*found;
}

// The first one: devices of the guest's own on top of it (a bridge, a VLAN) have the same address and came later.
Link* FindByMac(std::vector<Link>& links, const std::string& mac) {
  auto found = std::find_if(links.begin(), links.end(),
                            [&mac](const Link& link) { return link.mac == mac && link.name != kLoopback; });
  return found == links.end() ? nullptr : &*found;
}

// All links, once those of the plan are there.
Co<absl::StatusOr<std::vector<Link>>> WaitForLinks(KernelNetwork* kernel, const NetworkPlan* plan,
                                                   std::chrono::nanoseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    // Before the look: one that came in time is not missed.
    const bool is_late = std::chrono::steady_clock::now() >= until;
    CO_ASSIGN_OR_RETURN(std::vector<Link> links, kernel->Links());
    const Interface* missing = nullptr;
    for (const Interface& interface : plan->interfaces) {
      if (missing == nullptr && FindByMac(links, interface.mac) == nullptr) missing = &interface;
    }
    if (missing == nullptr) co_return links;
    if (is_late) {
      const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
      co_return absl::DeadlineExceededError(absl::StrCat("waiting for interface \"", missing->name, "\" with mac \"",
                                                         MacText(missing->mac), "\": it did not come in ", waited,
                                                         " ms"));
    }
    co_await Sleep(kInterfacePoll);
  }
}

// The links of one request, by the order of its interfaces.
class Change {
 public:
  Change(KernelNetwork* kernel, const NetworkPlan& plan, std::vector<Link> links, const GuestNetworkOptions& options)
      : kernel_(*kernel), plan_(plan), links_(std::move(links)), options_(options) {}

  absl::Status Apply() {
    RETURN_IF_ERROR(SetNames());
    for (const Interface& interface : plan_.interfaces) RETURN_IF_ERROR(SetInterface(interface));
    for (const Link& link : links_) {
      if (link.name == kLoopback || IsWanted(link.name)) indices_[link.name] = link.index;
    }
    RETURN_IF_ERROR(SetRoutes());
    return SetNeighbours();
  }

 private:
  bool IsWanted(const std::string& name) const {
    return std::any_of(plan_.interfaces.begin(), plan_.interfaces.end(),
                       [&name](const Interface& interface) { return interface.name == name; });
  }

  bool IsOfPlan(const Link& link) {
    return std::any_of(plan_.interfaces.begin(), plan_.interfaces.end(),
                       [this, &link](const Interface& interface) { return FindByMac(links_, interface.mac) == &link; });
  }

  absl::Status Rename(Link& link, const std::string& name) {
    // Kernels before 6.2 rename only what is down.
    const bool was_up = std::exchange(link.is_up, false);
    if (was_up) RETURN_IF_ERROR(kernel_.SetUp(link, false));
    RETURN_IF_ERROR(kernel_.Rename(link, name));
    link.name = name;
    // One of the plan goes up in its turn.
    if (!was_up || IsOfPlan(link)) return absl::OkStatus();
    link.is_up = true;
    return kernel_.SetUp(link, true);
  }

  absl::Status SetNames() {
    for (const Interface& interface : plan_.interfaces) {
      Link* link = FindByMac(links_, interface.mac);
      if (link->name == interface.name) continue;
      if (Link* holder = FindByName(links_, interface.name); holder != nullptr) {
        RETURN_IF_ERROR(Rename(*holder, absl::StrCat(kTemporaryName, holder->index)));
      }
      RETURN_IF_ERROR(Rename(*link, interface.name));
    }
    return absl::OkStatus();
  }

  // The interface is to have the addresses that the host says and no others: the kernel shall make none.
  absl::Status ForbidOwnAddresses(const Interface& interface) {
    const std::string directory = absl::StrCat(options_.ipv6_settings, "/conf/", interface.name);
    if (::access(directory.c_str(), F_OK) != 0) {
      // Without IPv6 as a whole, or with an MTU that is too small for it.
      for (const InterfaceAddress& address : interface.addresses) {
        if (address.address.family != AF_INET6) continue;
        return absl::InternalError(absl::StrCat("setting address \"", address.Text(), "\" of \"", interface.name,
                                                "\": the interface has no IPv6"));
      }
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(WriteExisting(directory + "/accept_ra", "0"));
    return WriteExisting(directory + "/addr_gen_mode", "1");  // none
  }

  absl::Status SetAddresses(const Link& link, const Interface& interface) {
    const std::set<InterfaceAddress> wanted(interface.addresses.begin(), interface.addresses.end());
    ASSIGN_OR_RETURN(const std::vector<InterfaceAddress> before, kernel_.Addresses(link));
    for (const InterfaceAddress& address : before) {
      if (wanted.count(address) == 0) RETURN_IF_ERROR(kernel_.Remove(link, address));
    }
    // With one of IPv4 go those that are secondary to it.
    ASSIGN_OR_RETURN(const std::vector<InterfaceAddress> left, kernel_.Addresses(link));
    const std::set<InterfaceAddress> kept(left.begin(), left.end());
    for (const InterfaceAddress& address : interface.addresses) {
      if (kept.count(address) == 0) RETURN_IF_ERROR(kernel_.Add(link, address));
    }
    return absl::OkStatus();
  }

  absl::Status SetInterface(const Interface& interface) {
    const Link& link = *FindByName(links_, interface.name);
    if (interface.mtu != 0 && interface.mtu != link.mtu) RETURN_IF_ERROR(kernel_.SetMtu(link, interface.mtu));
    RETURN_IF_ERROR(ForbidOwnAddresses(interface));
    // Before the addresses: those of IPv6 go when an interface goes down.
    if (interface.is_up != link.is_up) RETURN_IF_ERROR(kernel_.SetUp(link, interface.is_up));
    return SetAddresses(link, interface);
  }

  absl::Status SetRoutes() {
    const std::set<Route> wanted(plan_.routes.begin(), plan_.routes.end());
    ASSIGN_OR_RETURN(const std::vector<Route> before, kernel_.Routes(indices_));
    std::set<Route> kept;
    for (const Route& route : before) {
      if (wanted.count(route) != 0) {
        kept.insert(route);
      } else {
        RETURN_IF_ERROR(kernel_.Remove(indices_, route));
      }
    }
    for (const Route& route : plan_.routes) {
      if (!kept.insert(route).second) continue;
      RETURN_IF_ERROR(kernel_.Add(indices_, route, IsAlone(wanted, route)));
    }
    return absl::OkStatus();
  }

  // Whether it has its key for itself; routes of one key are neighbours in the order of routes.
  static bool IsAlone(const std::set<Route>& all, const Route& route) {
    auto at = all.find(route);
    if (at != all.begin() && std::prev(at)->HasKeyOf(route)) return false;
    return ++at == all.end() || !at->HasKeyOf(route);
  }

  absl::Status SetNeighbours() {
    const std::set<Neighbour> wanted(plan_.neighbours.begin(), plan_.neighbours.end());
    ASSIGN_OR_RETURN(const std::vector<Neighbour> before, kernel_.Neighbours(indices_));
    std::set<Neighbour> kept;
    for (const Neighbour& neighbour : before) {
      if (wanted.count(neighbour) != 0) {
        kept.insert(neighbour);
      } else {
        RETURN_IF_ERROR(kernel_.Remove(indices_, neighbour));
      }
    }
    for (const Neighbour& neighbour : plan_.neighbours) {
      if (kept.insert(neighbour).second) RETURN_IF_ERROR(kernel_.Set(indices_, neighbour));
    }
    return absl::OkStatus();
  }

  KernelNetwork& kernel_;
  const NetworkPlan& plan_;
  std::vector<Link> links_;
  const GuestNetworkOptions& options_;
  KernelNetwork::Indices indices_;
};

}  // namespace

GuestNetwork::GuestNetwork(asio::any_io_executor executor, GuestNetworkOptions options)
    : executor_(std::move(executor)), options_(std::move(options)) {}

Co<absl::Status> GuestNetwork::Set(v1::SetNetworkRequest request) {
  CO_ASSIGN_OR_RETURN(NetworkPlan plan, PlanNetwork(request));
  const std::shared_ptr<Latch> before = std::exchange(last_, std::make_shared<Latch>(executor_));
  const std::shared_ptr<Latch> ended = last_;
  const absl::Cleanup end = [&ended] { ended->Set(); };
  if (before != nullptr) co_await before->Wait();
  co_return co_await SetInTurn(std::move(plan));
}

Co<absl::Status> GuestNetwork::SetInTurn(NetworkPlan plan) {
  CO_ASSIGN_OR_RETURN(KernelNetwork kernel, KernelNetwork::Open());
  auto links = co_await WaitForLinks(&kernel, &plan, options_.interface_timeout);
  if (!links.ok()) co_return links.status();
  Change change(&kernel, plan, *std::move(links), options_);
  co_return change.Apply();
}

}  // namespace kata::agent
