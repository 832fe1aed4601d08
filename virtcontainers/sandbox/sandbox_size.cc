// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/sandbox_size.h"

#include <algorithm>
#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"

namespace kata::virtcontainers {
namespace {

constexpr char kResizeFeature[] = "resize";  // of the agent
constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kMilli = 1000;

// The greater of each; no limit is nothing that a machine could be made for.
ContainerLimits Larger(const ContainerLimits& a, const ContainerLimits& b) {
  ContainerLimits out = MilliProcessors(a) > MilliProcessors(b) ? a : b;
  out.memory = std::max(a.memory, b.memory);
  out.hugepages = std::max(a.hugepages, b.hugepages);
  return out;
}

}  // namespace

hypervisors::MachineSize SizeFor(const Config& config, const PodSize& pod, const HostSize& host,
                                 const std::map<std::string, ContainerLimits>& limits) {
  uint64_t memory = 0;
  uint64_t hugepages = 0;
  uint64_t millis = 0;
  bool are_all_limited = true;
  for (const auto& [id, one] : limits) {
    are_all_limited = are_all_limited && one.memory != 0;
    memory += std::min(one.memory, host.memory);
    hugepages += std::min(one.hugepages, host.memory);
    millis += std::min(MilliProcessors(one), host.processors * kMilli);
  }
  memory = std::max(memory, pod.memory);
  hypervisors::MachineSize size{config.default_vcpus, config.default_memory};
  if (memory != 0) {
    const uint64_t needed = WithHugepages(MachineMemoryFor(memory, host, config), hugepages, host);
    size.memory_mib = std::max(size.memory_mib, std::min<uint64_t>(needed, config.default_maxmemory));
  }
  if (!are_all_limited) {
    const uint64_t without =
        std::min(WithHugepages(config.memory_without_limit, hugepages, host), config.default_maxmemory);
    size.memory_mib = std::max(size.memory_mib, without);
  }
  const uint64_t needed = std::min((millis + kMilli - 1) / kMilli, uint64_t{config.default_maxvcpus});
  size.vcpus = std::max(size.vcpus, static_cast<uint32_t>(std::min<uint64_t>(needed, host.processors)));
  return size;
}

SandboxSize::SandboxSize(asio::any_io_executor executor, std::shared_ptr<hypervisors::Hypervisor> hypervisor,
                         Config config, PodSize pod, HostSize host)
    : executor_(executor),
      hypervisor_(std::move(hypervisor)),
      config_(std::move(config)),
      pod_(pod),
      host_(host),
      asked_{config_.default_vcpus, config_.default_memory},
      now_(asked_) {}

void SandboxSize::Connect(std::shared_ptr<ttrpc::Connection> agent, const std::set<std::string>& features,
                          std::function<void(hypervisors::MachineSize)> on_grown) {
  agent_ = std::move(agent);
  can_resize_ = features.contains(kResizeFeature);
  on_grown_ = std::move(on_grown);
}

ContainerLimits SandboxSize::LimitsOf(const std::string& id) const {
  const auto at = limits_.find(id);
  return at != limits_.end() ? at->second : ContainerLimits();
}

Co<absl::Status> SandboxSize::Change(std::string id, ContainerLimits limits, std::function<Co<absl::Status>()> apply) {
  auto self = shared_from_this();
  const bool was_there = limits_.contains(id);
  const ContainerLimits before = LimitsOf(id);
  limits_[id] = Larger(before, limits);
  absl::Status status = co_await Fit();
  if (status.ok()) status = co_await apply();
  if (status.ok()) {
    limits_[id] = limits;
  } else if (was_there) {
    limits_[id] = before;
  } else {
    limits_.erase(id);
  }
  Spawn(executor_, "fitting the machine", FitLater(self));
  co_return status;
}

void SandboxSize::Forget(const std::string& id) {
  if (limits_.erase(id) != 0) Spawn(executor_, "fitting the machine", FitLater(shared_from_this()));
}

// What is not needed any more is asked back; that it does not come is nobody's failure.
Co<absl::Status> SandboxSize::FitLater(std::shared_ptr<SandboxSize> self) {
  absl::Status status = co_await self->Fit();
  // A machine that stops meanwhile gives all of it back.
  if (!status.ok() && self->hypervisor_->Pid() != 0) log::Warn("{}", status.message());
  co_return absl::OkStatus();
}

Co<absl::Status> SandboxSize::Fit() {
  auto self = shared_from_this();
  while (fitting_ != nullptr) {
    std::shared_ptr<Latch> other = fitting_;
    co_await other->Wait();
  }
  const hypervisors::MachineSize wanted = SizeFor(config_, pod_, host_, limits_);
  if (wanted == asked_) co_return absl::OkStatus();
  auto mine = std::make_shared<Latch>(executor_);
  fitting_ = mine;
  absl::Status status = co_await FitNow(wanted);
  fitting_ = nullptr;
  mine->Set();
  co_return status;
}

Co<absl::Status> SandboxSize::FitNow(hypervisors::MachineSize wanted) {
  const bool grows = wanted.memory_mib > now_.memory_mib || wanted.vcpus > now_.vcpus;
  const char* what = grows ? "making the machine larger" : "making the machine smaller";
  if (!can_resize_) {
    asked_ = wanted;
    log::Warn("{}: the agent in the guest's image is too old for it; rebuild it with tools/build", what);
    co_return absl::OkStatus();
  }
  auto size = co_await hypervisor_->Resize(wanted);
  if (!size.ok()) co_return Annotate(size.status(), what);
  asked_ = wanted;
  now_ = *size;
  if (grows && on_grown_) on_grown_(now_);
  agent::v1::ResizeMachineRequest request;
  request.set_processors(now_.vcpus);
  request.set_memory_added_bytes((now_.memory_mib - config_.default_memory) * kMiB);
  agent::v1::AgentClient client(agent_);
  auto response = co_await client.Resize(std::move(request), kResizeCallTimeout);
  if (!response.ok()) {
    asked_ = {};  // a later look tries again
    co_return Annotate(response.status(), what);
  }
  log::Info("the machine's size is {} MiB and {} vCPUs now", now_.memory_mib, now_.vcpus);
  co_return absl::OkStatus();
}

}  // namespace kata::virtcontainers
