// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include <nlohmann/json.hpp>

#include "shimv2/management/pages.h"

namespace kata::shimv2 {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kUsPerSecond = 1e6;

Json ContainerJson(const std::string& id, const io::containerd::cgroups::v2::Metrics& metrics) {
  return {{"id", id},
          {"cpu_seconds", static_cast<double>(metrics.cpu().usage_usec()) / kUsPerSecond},
          {"memory_bytes", metrics.memory().usage()},
          {"processes", metrics.pids().current()},
          {"oom_kills", metrics.memory_events().oom_kill()}};
}

}  // namespace

std::vector<std::string> RunningContainers(const TaskService& tasks) {
  std::vector<std::string> out;
  for (const TaskSummary& task : tasks.Summaries()) {
    if (!task.processes.empty() && task.processes.front().state != "stopped") out.push_back(task.id);
  }
  return out;
}

Co<absl::StatusOr<std::string>> StatsPage(std::shared_ptr<const PodView> view) {
  std::vector<std::string> ids = RunningContainers(*view->tasks);
  const std::shared_ptr<const GuestFigures> guest = co_await view->guest->Ask(std::move(ids), kGuestPatience);
  if (guest == nullptr) co_return absl::UnavailableError("the guest does not answer");
  const agent::v1::GuestMemory& memory = guest->sandbox.guest_memory();
  Json out;
  out["guest_memory"] = {{"total", memory.total()},
                         {"free", memory.free()},
                         {"available", memory.available()},
                         {"cached", memory.cached()}};
  Json containers = Json::array();
  for (const auto& [id, stats] : guest->containers) containers.push_back(ContainerJson(id, stats.metrics()));
  out["containers"] = std::move(containers);
  co_return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace kata::shimv2
