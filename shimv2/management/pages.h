// SPDX-License-Identifier: Apache-2.0
// What a shim answers about its pod on its management socket (docs/management.md). /healthz, /state, /timeline and
// /console come from memory; /metrics and /stats ask the guest too, for kGuestPatience at most. Io thread only.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "proto/http/server.h"
#include "shimv2/management/call_times.h"
#include "shimv2/management/execs.h"
#include "shimv2/management/guest_figures.h"
#include "shimv2/pod/pod_sandbox.h"
#include "shimv2/task/task_service.h"

namespace kata::shimv2 {

// What a page of figures waits for the guest's.
inline constexpr std::chrono::seconds kGuestPatience{2};
inline constexpr size_t kConsolePageMax = 64u << 10;

// What pages tell of. The pool, the calls and the services outlive the routes.
struct PodView {
  asio::thread_pool* pool = nullptr;
  const CallTimes* calls = nullptr;
  std::shared_ptr<PodSandbox> pod;
  std::shared_ptr<TaskService> tasks;
  std::shared_ptr<GuestAsker> guest;
  std::shared_ptr<ManagementExecs> execs;
  std::string name_space;     // of containerd
  std::string socket_path;    // where containerd calls
  int64_t started_at_ns = 0;  // since 1970
};

std::shared_ptr<const http::Routes> MakeRoutes(std::shared_ptr<const PodView> view);

// Those with which programs are run in containers.
void AddExecRoutes(std::shared_ptr<ManagementExecs> execs, http::Routes& routes);

// The pages one by one. JSON; OpenMetrics.
std::string StatePage(const PodView& view);
Co<std::string> MetricsPage(std::shared_ptr<const PodView> view);
// JSON: what the containers take. Unavailable when the guest does not answer.
Co<absl::StatusOr<std::string>> StatsPage(std::shared_ptr<const PodView> view);
// Those that a guest can be asked about.
std::vector<std::string> RunningContainers(const TaskService& tasks);

}  // namespace kata::shimv2
