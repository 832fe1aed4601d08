// SPDX-License-Identifier: Apache-2.0
// The part of TaskService about a container as a whole: freezer, limits, statistics, OOM kills.
#include <nlohmann/json.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "shimv2/pod/type_url.h"
#include "shimv2/task/oom_marker.h"
#include "shimv2/task/stats.h"
#include "shimv2/task/task_service.h"

namespace kata::shimv2 {
namespace {

namespace task = containerd::task;

absl::Status CheckResources(const wire::Any& resources) {
  if (!resources.type_url().empty() && !HasType(resources, "LinuxResources")) {
    return absl::InvalidArgumentError(
        absl::StrCat("the resources are of type \"", resources.type_url(), "\", not LinuxResources"));
  }
  const auto parsed = nlohmann::json::parse(resources.value(), nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return absl::InvalidArgumentError("the resources are not valid JSON");
  if (!parsed.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the resources are a JSON ", parsed.type_name(), ", where an object is needed"));
  }
  return absl::OkStatus();
}

}  // namespace

Answer<wire::Empty> TaskService::Pause(ttrpc::CallContext, task::PauseRequest request) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  absl::Status status = co_await entry->container->Pause();
  if (!status.ok()) co_return status;
  events_.Paused(entry->id);
  co_return wire::Empty();
}

Answer<wire::Empty> TaskService::Resume(ttrpc::CallContext, task::ResumeRequest request) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  absl::Status status = co_await entry->container->Resume();
  if (!status.ok()) co_return status;
  events_.Resumed(entry->id);
  co_return wire::Empty();
}

Answer<wire::Empty> TaskService::Update(ttrpc::CallContext, task::UpdateTaskRequest request) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  absl::Status checked = CheckResources(request.resources());
  if (!checked.ok()) co_return Annotate(checked, absl::StrCat("updating container \"", entry->id, "\""));
  absl::Status status = co_await entry->container->Update(request.resources().value());
  if (!status.ok()) co_return status;
  co_return wire::Empty();
}

Answer<task::StatsResponse> TaskService::Stats(ttrpc::CallContext, task::StatsRequest request) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  auto stats = co_await entry->container->Stats();
  if (!stats.ok()) co_return stats.status();
  task::StatsResponse response;
  *response.mutable_stats() = StatsAny(*stats, HostCgroupVersion());
  co_return response;
}

Answer<wire::Empty> TaskService::Checkpoint(ttrpc::CallContext, task::CheckpointTaskRequest request) {
  CO_RETURN_IF_ERROR(Find(request.id()).status());
  co_return absl::UnimplementedError(
      "checkpointing a container is not supported: it comes as a checkpoint of the whole virtual machine");
}

// The handler runs before the exit is known, so neither the exit's event nor the answer of Wait overtakes the marker.
void TaskService::WatchOom(const std::shared_ptr<TaskRecord>& entry) {
  entry->container->OnOom([weak = weak_from_this(), id = entry->id, bundle = entry->bundle] {
    std::shared_ptr<TaskService> self = weak.lock();
    if (self == nullptr) return;
    absl::Status marked = MarkOutOfMemory(bundle);
    if (!marked.ok()) log::Warn("{}", marked.message());
    self->events_.OutOfMemory(id);
  });
}

}  // namespace kata::shimv2
