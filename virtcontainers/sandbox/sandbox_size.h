// SPDX-License-Identifier: Apache-2.0
// The machine's size while its sandbox lives: as containers come, go and get other limits, it follows what they may use
// together, as far as the configuration and the host let it, and never falls below what it started with. Io thread
// only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "hypervisors/hypervisor.h"
#include "proto/base/coro.h"
#include "proto/ttrpc/connection.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/size/container_limits.h"
#include "virtcontainers/size/pod_size.h"

namespace kata::virtcontainers {

// For the guest to take into use what its machine has got; longer than the agent's own limit.
inline constexpr std::chrono::seconds kResizeCallTimeout{15};

// What a machine of that configuration needs for containers of these limits. `pod`: what was said of all of them
// beforehand, some of them not made yet. Pure.
hypervisors::MachineSize SizeFor(const Config& config, const PodSize& pod, const HostSize& host,
                                 const std::map<std::string, ContainerLimits>& limits);

class SandboxSize : public std::enable_shared_from_this<SandboxSize> {
 public:
  // `config` as FitMachine leaves it.
  SandboxSize(asio::any_io_executor executor, std::shared_ptr<hypervisors::Hypervisor> hypervisor, Config config,
              PodSize pod, HostSize host);

  // The agent has answered, and has these features. `on_grown` hears of each larger size.
  void Connect(std::shared_ptr<ttrpc::Connection> agent, const std::set<std::string>& features,
               std::function<void(hypervisors::MachineSize)> on_grown);

  // Runs `apply`, by which container `id` gets `limits`. What it needs for them the machine has before; what it does
  // not need any more, also when `apply` fails, goes afterwards.
  Co<absl::Status> Change(std::string id, ContainerLimits limits, std::function<Co<absl::Status>()> apply);
  ContainerLimits LimitsOf(const std::string& id) const;
  // The container is gone.
  void Forget(const std::string& id);

  hypervisors::MachineSize now() const { return now_; }

 private:
  Co<absl::Status> Fit();
  Co<absl::Status> FitNow(hypervisors::MachineSize wanted);
  static Co<absl::Status> FitLater(std::shared_ptr<SandboxSize> self);

  asio::any_io_executor executor_;
  std::shared_ptr<hypervisors::Hypervisor> hypervisor_;
  const Config config_;
  const PodSize pod_;
  const HostSize host_;
  std::shared_ptr<ttrpc::Connection> agent_;
  bool can_resize_ = false;
  std::function<void(hypervisors::MachineSize)> on_grown_;
  std::map<std::string, ContainerLimits> limits_;
  hypervisors::MachineSize asked_;  // last
  hypervisors::MachineSize now_;
  std::shared_ptr<Latch> fitting_;  // null: nobody does
};

}  // namespace kata::virtcontainers
