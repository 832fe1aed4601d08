// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/sandbox_network.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <utility>

#include <absl/strings/escaping.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/container/guest_container.h"

namespace kata::virtcontainers {
namespace {

// Of the agent.
constexpr char kNetworkFeature[] = "network";
constexpr char kResolverFeature[] = "resolver";
constexpr char kDialFeature[] = "dial";
constexpr char kNextHopsFeature[] = "next-hops";

// A route that older agents would set as another, or refuse without saying why; null: there is none.
const agent::v1::NetworkRoute* RouteThatNeedsNextHops(const agent::v1::SetNetworkRequest& request) {
  for (const agent::v1::NetworkRoute& route : request.routes()) {
    const bool has_other_family = route.family() == AF_INET && absl::StrContains(route.gateway(), ':');
    if (has_other_family || route.next_hops_size() > 0) return &route;
  }
  return nullptr;
}

}  // namespace

SandboxNetwork::SandboxNetwork(asio::any_io_executor executor, asio::thread_pool& pool,
                               std::shared_ptr<hypervisors::Hypervisor> hypervisor)
    : executor_(executor), pool_(pool), hypervisor_(std::move(hypervisor)), news_(executor) {}

Co<absl::Status> SandboxNetwork::Open(std::string path, HostNamespace host) {
  auto self = shared_from_this();
  path_ = std::move(path);
  std::function<absl::StatusOr<std::shared_ptr<const NetworkNamespace>>()> open = [path = path_] {
    return NetworkNamespace::Open(path);
  };
  CO_ASSIGN_OR_RETURN(place_, co_await RunBlockingFor<std::shared_ptr<const NetworkNamespace>>(pool_, open));
  if (path_.empty() || !place_->IsHosts()) co_return absl::OkStatus();
  // Its interfaces are the host's: joining them would take them from it.
  if (host == HostNamespace::kRefuse) co_return RefuseHostNetwork(path_);
  log::Warn("the pod's network namespace \"{}\" is the host's: it gets the machine's own instead", path_);
  path_.clear();
  open = [] { return NetworkNamespace::Open(""); };
  CO_ASSIGN_OR_RETURN(place_, co_await RunBlockingFor<std::shared_ptr<const NetworkNamespace>>(pool_, std::move(open)));
  co_return absl::OkStatus();
}

Co<absl::Status> SandboxNetwork::Join(NetworkModel model, std::string record,
                                      std::shared_ptr<hypervisors::VmSpec> spec) {
  auto self = shared_from_this();
  vcpus_ = spec->vcpus;
  is_qemus_ = spec->is_network_qemus;
  endpoints_ = std::make_shared<Endpoints>(place_, path_, model, spec->name, std::move(record));
  auto monitor = std::make_shared<std::shared_ptr<NetworkMonitor>>();
  // What changes after the look is news.
  std::function<absl::Status()> join = [place = place_, endpoints = endpoints_, monitor]() -> absl::Status {
    RETURN_IF_ERROR(place->Run([&monitor]() -> absl::Status {
      ASSIGN_OR_RETURN(NetworkMonitor opened, NetworkMonitor::Open());
      *monitor = std::make_shared<NetworkMonitor>(std::move(opened));
      return absl::OkStatus();
    }));
    return endpoints->Follow();
  };
  absl::Status joined = co_await RunBlocking(pool_, std::move(join));
  if (!joined.ok()) co_return joined;
  monitor_ = *monitor;
  UniqueFd news(::fcntl(monitor_->fd(), F_DUPFD_CLOEXEC, 0));
  if (!news.valid()) co_return ErrnoStatus(errno, "keeping a descriptor of netlink");
  news_.assign(news.release());
  for (const auto& endpoint : endpoints_->all()) {
    spec->devices.push_back(CardOf(*endpoint));
    cards_[endpoint->tap.name] = {endpoint->interface.mac, false};
  }
  co_return absl::OkStatus();
}

hypervisors::Device SandboxNetwork::CardOf(const Endpoint& endpoint) const {
  hypervisors::NetworkCard card;
  card.tap = endpoint.tap.name;
  card.mac = endpoint.interface.mac;
  card.queues = std::clamp(vcpus_, card.queues, hypervisors::kCardQueuesMax);
  card.is_served_by_qemu = is_qemus_;
  return {endpoint.tap.name, card};
}

void SandboxNetwork::LetGo() {
  if (endpoints_ == nullptr) return;
  endpoints_->LetGo();
  Spawn(executor_, "following the pod's network", Watch(shared_from_this()));
}

Co<absl::Status> SandboxNetwork::Connect(std::shared_ptr<ttrpc::Connection> agent,
                                         const std::set<std::string>& features) {
  auto self = shared_from_this();
  if (endpoints_ == nullptr) co_return absl::OkStatus();
  agent_ = std::move(agent);
  can_set_network_ = features.contains(kNetworkFeature);
  can_set_next_hops_ = features.contains(kNextHopsFeature);
  can_resolve_ = features.contains(kResolverFeature);
  co_return co_await CatchUp();
}

void SandboxNetwork::ForwardPorts(std::shared_ptr<ttrpc::Connection> agent, const std::set<std::string>& features) {
  if (path_.empty() || is_over_ || !features.contains(kDialFeature)) return;
  forward_ = std::make_shared<PortForward>(executor_);
  Spawn(executor_, "forwarding ports", StartForward(shared_from_this(), std::move(agent)));
}

Co<absl::Status> SandboxNetwork::StartForward(std::shared_ptr<SandboxNetwork> self,
                                              std::shared_ptr<ttrpc::Connection> agent) {
  if (self->is_over_) co_return absl::OkStatus();
  std::shared_ptr<PortForward> forward = self->forward_;
  absl::Status started = co_await forward->Start(self->pool_, self->place_, std::move(agent));
  if (!started.ok() && !self->is_over_)
    log::Warn("ports of the pod cannot be forwarded to its loopback: {}", started.message());
  co_return absl::OkStatus();
}

Co<absl::Status> SandboxNetwork::CatchUp() {
  auto self = shared_from_this();
  while (following_ != nullptr) {
    std::shared_ptr<Latch> other = following_;
    co_await other->Wait();
  }
  if (monitor_ == nullptr || is_over_) co_return absl::OkStatus();
  auto mine = std::make_shared<Latch>(executor_);
  following_ = mine;
  absl::Status status = co_await Follow();
  following_ = nullptr;
  mine->Set();
  co_return status;
}

Co<absl::Status> SandboxNetwork::Follow() {
  if (monitor_->TakeNews()) must_look_ = true;
  absl::Status followed;
  if (must_look_) {
    std::function<absl::Status()> follow = [endpoints = endpoints_] { return endpoints->Follow(); };
    followed = co_await RunBlocking(pool_, std::move(follow));
    must_look_ = !followed.ok();
  }
  if (agent_ == nullptr || is_over_) co_return followed;
  // What cannot be had keeps nothing else away.
  absl::Status status = followed;
  absl::Status unplugged = co_await Unplug();
  status.Update(unplugged);
  absl::Status plugged = co_await Plug();
  status.Update(plugged);
  absl::Status told = co_await Tell();
  status.Update(told);
  co_await LookForResolver();
  co_return status;
}

Co<void> SandboxNetwork::LookForResolver() {
  if (!can_resolve_ || resolver_ != nullptr || is_over_ || endpoints_->all().empty()) co_return;
  std::function<absl::StatusOr<bool>()> look = [place = place_] { return ResolverRelay::IsThere(*place); };
  auto is_there = co_await RunBlockingFor<bool>(pool_, std::move(look));
  if (is_over_ || !is_there.ok()) co_return;
  if (*is_there) {
    resolver_ = std::make_shared<ResolverRelay>(executor_, pool_, place_);
    std::shared_ptr<ResolverRelay> resolver = resolver_;
    absl::Status started = co_await resolver->Start(agent_);
    if (!started.ok() && !is_over_) log::Warn("carrying names to the pod's resolver: {}", started.message());
  } else if (!std::exchange(will_look_again_, true)) {
    Spawn(executor_, "looking for a resolver", LookAgain(shared_from_this()));
  }
}

Co<absl::Status> SandboxNetwork::LookAgain(std::shared_ptr<SandboxNetwork> self) {
  co_await Sleep(kResolverSettle);
  if (self->is_over_) co_return absl::OkStatus();
  // Not while somebody else looks; not for ever either.
  absl::Status status = co_await self->CatchUp();
  self->will_look_again_ = false;
  co_return status;
}

bool SandboxNetwork::IsCarried(const std::string& tap, const Card& card) const {
  return std::any_of(endpoints_->all().begin(), endpoints_->all().end(), [&tap, &card](const auto& endpoint) {
    return endpoint->tap.name == tap && endpoint->interface.mac == card.mac;
  });
}

Co<absl::Status> SandboxNetwork::Unplug() {
  std::vector<std::string> gone;
  for (const auto& [tap, card] : cards_) {
    if (card.can_be_unplugged && !IsCarried(tap, card)) gone.push_back(tap);
  }
  absl::Status status;
  for (const std::string& tap : gone) {
    if (is_over_) break;
    absl::Status detached = co_await hypervisor_->Detach(tap);
    if (detached.ok()) cards_.erase(tap);
    status.Update(detached);
  }
  co_return status;
}

Co<absl::Status> SandboxNetwork::Plug() {
  absl::Status status;
  std::vector<std::pair<std::string, hypervisors::Device>> added;
  if (is_over_) co_return status;
  for (const auto& endpoint : endpoints_->all()) {
    const auto card = cards_.find(endpoint->tap.name);
    if (card == cards_.end()) {
      added.push_back({endpoint->interface.name, CardOf(*endpoint)});
    } else if (card->second.mac != endpoint->interface.mac) {
      status.Update(absl::FailedPreconditionError(
          absl::StrCat("the hardware address of interface \"", endpoint->interface.name, "\" is not ", card->second.mac,
                       " any more, which its card has as long as the machine runs")));
    }
  }
  for (const auto& [name, card] : added) {
    if (is_over_) co_return status;
    absl::Status attached = co_await hypervisor_->Attach(card);
    if (attached.ok()) cards_[card.id] = {std::get<hypervisors::NetworkCard>(card.kind).mac, true};
    status.Update(Annotate(attached, absl::StrCat("plugging in interface \"", name, "\"")));
  }
  // One that is to be plugged in later needs its tap.
  if (status.ok() && !is_over_) endpoints_->LetGo();
  co_return status;
}

std::set<std::string> SandboxNetwork::InterfacesWithoutCard() const {
  std::set<std::string> without;
  for (const auto& endpoint : endpoints_->all()) {
    const auto card = cards_.find(endpoint->tap.name);
    if (card == cards_.end() || card->second.mac != endpoint->interface.mac) without.insert(endpoint->interface.name);
  }
  return without;
}

Co<absl::Status> SandboxNetwork::Tell() {
  if (is_over_) co_return absl::OkStatus();
  agent::v1::SetNetworkRequest request = endpoints_->ForGuest();
  // The guest would wait for them.
  LeaveOut(InterfacesWithoutCard(), request);
  // A card that stays for good is silent, and its name free.
  for (const auto& [tap, card] : cards_) {
    if (IsCarried(tap, card)) continue;
    agent::v1::NetworkInterface& left = *request.add_interfaces();
    left.set_mac(absl::HexStringToBytes(absl::StrReplaceAll(card.mac, {{":", ""}})));
    left.set_name(tap);
  }
  const std::string now = request.SerializeAsString();
  if (now == told_) co_return absl::OkStatus();
  if (!can_set_network_)
    co_return absl::FailedPreconditionError("the agent in the guest's image is too old to set up a network");
  const agent::v1::NetworkRoute* newer = can_set_next_hops_ ? nullptr : RouteThatNeedsNextHops(request);
  if (newer != nullptr) {
    const std::string name = newer->destination().empty() ? "default" : newer->destination();
    co_return absl::FailedPreconditionError(absl::StrCat(
        "route \"", name,
        "\" has several next hops or a gateway of another family, for which the agent in the guest's image "
        "is too old"));
  }
  agent::v1::AgentClient client(agent_);
  auto response = co_await client.SetNetwork(std::move(request), kAgentCallTimeout);
  if (response.ok()) told_ = now;
  co_return Annotate(response.status(), "setting up the guest's network");
}

Co<absl::Status> SandboxNetwork::Watch(std::shared_ptr<SandboxNetwork> self) {
  for (;;) {
    auto [error] = co_await self->news_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
    if (error || self->is_over_) co_return absl::OkStatus();
    co_await Sleep(kNetworkSettle);
    absl::Status status = co_await self->CatchUp();
    // Before there is an agent, Connect meets it again.
    if (!status.ok() && !self->is_over_ && self->agent_ != nullptr)
      log::Warn("following the pod's network: {}", status.message());
  }
}

Co<absl::Status> SandboxNetwork::Release() {
  auto self = shared_from_this();
  is_over_ = true;
  if (resolver_ != nullptr) resolver_->Stop();
  if (forward_ != nullptr) forward_->Stop();
  boost::system::error_code ignored;
  news_.close(ignored);
  while (following_ != nullptr) {
    std::shared_ptr<Latch> other = following_;
    co_await other->Wait();
  }
  place_.reset();
  if (endpoints_ == nullptr) co_return absl::OkStatus();
  std::function<absl::Status()> remove = [endpoints = std::exchange(endpoints_, nullptr)] {
    return endpoints->Remove();
  };
  co_return co_await RunBlocking(pool_, std::move(remove));
}

}  // namespace kata::virtcontainers
