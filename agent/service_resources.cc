// SPDX-License-Identifier: Apache-2.0
// The calls of the Agent service about a container's cgroup: freezer, limits, statistics, OOM
// kills.
#include <utility>

#include "agent/base/meminfo.h"
#include "agent/base/paths.h"
#include "agent/cgroup/stats.h"
#include "agent/service.h"
#include "proto/base/fd.h"
#include "proto/base/log.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

constexpr char kInterfacesFile[] = "/proc/self/net/dev";
constexpr size_t kInterfacesSizeMax = 1u << 18;

}  // namespace

Co<absl::StatusOr<wire::Empty>> Service::PauseContainer(ttrpc::CallContext, v1::ProcessId request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  CO_RETURN_IF_ERROR(co_await container->Pause());
  co_return wire::Empty();
}

Co<absl::StatusOr<wire::Empty>> Service::ResumeContainer(ttrpc::CallContext, v1::ProcessId request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  CO_RETURN_IF_ERROR(co_await container->Resume());
  co_return wire::Empty();
}

Co<absl::StatusOr<wire::Empty>> Service::UpdateContainer(ttrpc::CallContext, v1::UpdateContainerRequest request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  CO_ASSIGN_OR_RETURN(Resources resources, ParseResources(request.resources_json()));
  CO_RETURN_IF_ERROR(ReserveHugepages(*container, resources.hugepage_limits));
  CO_RETURN_IF_ERROR(container->Update(resources));
  co_return wire::Empty();
}

absl::Status Service::ReserveHugepages(const Container& container, const std::vector<HugepageLimit>& limits) {
  RETURN_IF_ERROR(hugepages_.Reserve(&container, limits));
  return size_.SetHugepages(hugepages_.bytes());
}

void Service::ReleaseHugepages(const Container& container) {
  hugepages_.Release(&container);
  const absl::Status bound = size_.SetHugepages(hugepages_.bytes());
  if (!bound.ok()) log::Warn("bounding all containers anew: {}", bound.message());
}

Co<absl::StatusOr<v1::ResizeMachineResponse>> Service::Resize(ttrpc::CallContext, v1::ResizeMachineRequest request) {
  CO_RETURN_IF_ERROR(RequireHello());
  MachineSize::Size wanted;
  wanted.processors = request.processors();
  wanted.memory_added = request.memory_added_bytes();
  CO_ASSIGN_OR_RETURN(const MachineSize::Size size, co_await size_.Follow(wanted));
  for (const auto& [id, container] : containers_) {
    const absl::Status bound = container->Rebound();
    if (!bound.ok()) log::Warn("bounding container \"{}\" anew: {}", id, bound.message());
  }
  v1::ResizeMachineResponse response;
  response.set_processors(size.processors);
  response.set_memory_added_bytes(size.memory_added);
  co_return response;
}

Co<absl::StatusOr<v1::StatsContainerResponse>> Service::StatsContainer(ttrpc::CallContext, v1::ProcessId request) {
  CO_RETURN_IF_ERROR(RequireHello());
  std::string cgroup = kContainersCgroup;
  if (!request.container_id().empty()) {
    CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
    cgroup = container->CgroupPath();
  }
  v1::StatsContainerResponse response;
  ReadMetrics(cgroup, *response.mutable_metrics());
  auto text = ReadFile(kInterfacesFile, kInterfacesSizeMax);
  if (text.ok()) ParseInterfaces(*text, response);
  if (!request.container_id().empty()) co_return response;
  auto meminfo = ReadMeminfo();
  if (!meminfo.ok()) co_return response;
  v1::GuestMemory& memory = *response.mutable_guest_memory();
  memory.set_total(MeminfoBytes(*meminfo, "MemTotal:"));
  memory.set_free(MeminfoBytes(*meminfo, "MemFree:"));
  memory.set_available(MeminfoBytes(*meminfo, "MemAvailable:"));
  memory.set_cached(MeminfoBytes(*meminfo, "Cached:"));
  co_return response;
}

Co<absl::StatusOr<v1::WaitOomResponse>> Service::WaitOom(ttrpc::CallContext, v1::WaitOomRequest request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  auto oom = container->oom();
  container.reset();
  if (oom == nullptr) co_return absl::NotFoundError("waiting for OOM kills: there is no cgroup");
  CO_ASSIGN_OR_RETURN(const uint64_t kills, co_await oom->Wait(request.seen()));
  v1::WaitOomResponse response;
  response.set_oom_kills(kills);
  co_return response;
}

}  // namespace kata::agent
