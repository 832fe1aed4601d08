// SPDX-License-Identifier: Apache-2.0
// What TaskService answers from memory.
#include <unistd.h>

#include <absl/strings/ascii.h>

#include "proto/base/status.h"
#include "proto/schema/runtime_options.pb.h"
#include "shimv2/task/task_service.h"

namespace kata::shimv2 {
namespace {

namespace task = containerd::task;
namespace vc = virtcontainers;

task::Status StatusOf(const TaskRecord& entry, const ProcessRecord& record) {
  switch (record.process->state()) {
    case vc::ProcessState::kCreated:
      return task::CREATED;
    case vc::ProcessState::kRunning:
      return entry.container->is_paused() ? task::PAUSED : task::RUNNING;
    case vc::ProcessState::kStopped:
      return task::STOPPED;
  }
  return task::UNKNOWN;
}

ProcessSummary SummaryOf(const TaskRecord& entry, const ProcessRecord& record) {
  ProcessSummary out;
  out.id = record.exec_id;
  out.state = absl::AsciiStrToLower(task::Status_Name(StatusOf(entry, record)));
  out.exit = record.process->exit();
  return out;
}

}  // namespace

absl::StatusOr<std::shared_ptr<TaskRecord>> TaskService::Find(const std::string& id) const {
  auto at = tasks_.find(id);
  if (at == tasks_.end() || at->second == nullptr) {
    return absl::NotFoundError(absl::StrCat("container \"", id, "\" is not here"));
  }
  return at->second;
}

bool TaskService::IsBeingCreated(const std::string& id) const {
  auto at = tasks_.find(id);
  return at != tasks_.end() && at->second == nullptr;
}

absl::StatusOr<std::shared_ptr<ProcessRecord>> TaskService::FindProcess(const std::shared_ptr<TaskRecord>& entry,
                                                                        const std::string& exec_id) {
  if (exec_id.empty()) return entry->init;
  auto at = entry->execs.find(exec_id);
  if (at == entry->execs.end()) {
    return absl::NotFoundError(absl::StrCat("process \"", exec_id, "\" of container \"", entry->id, "\" is not here"));
  }
  return at->second;
}

Answer<task::StateResponse> TaskService::State(ttrpc::CallContext, task::StateRequest request) {
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  CO_ASSIGN_OR_RETURN(std::shared_ptr<ProcessRecord> record, FindProcess(entry, request.exec_id()));
  task::StateResponse response;
  response.set_id(record->name());
  response.set_exec_id(request.exec_id());
  response.set_bundle(entry->bundle);
  response.set_pid(static_cast<uint32_t>(entry->pid));
  response.set_status(StatusOf(*entry, *record));
  response.set_stdin(record->paths.in);
  response.set_stdout(record->paths.out);
  response.set_stderr(record->paths.err);
  response.set_terminal(record->paths.terminal);
  FillExit(*record->process, response);
  co_return response;
}

Answer<task::PidsResponse> TaskService::Pids(ttrpc::CallContext, task::PidsRequest request) {
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  task::PidsResponse response;
  response.add_processes()->set_pid(static_cast<uint32_t>(entry->pid));
  for (const auto& [exec_id, record] : entry->execs) {
    if (record->process->state() != vc::ProcessState::kRunning) continue;
    runtimeoptions::v1::ProcessDetails details;
    details.set_exec_id(exec_id);
    task::ProcessInfo* info = response.add_processes();
    info->set_pid(static_cast<uint32_t>(entry->pid));
    info->mutable_info()->set_type_url("containerd.runc.v1.ProcessDetails");
    info->mutable_info()->set_value(details.SerializeAsString());
  }
  co_return response;
}

Answer<task::ConnectResponse> TaskService::Connect(ttrpc::CallContext, task::ConnectRequest request) {
  task::ConnectResponse response;
  response.set_shim_pid(static_cast<uint32_t>(::getpid()));
  auto at = tasks_.find(request.id());
  if (at != tasks_.end() && at->second) response.set_task_pid(static_cast<uint32_t>(at->second->pid));
  co_return response;
}

Answer<wire::Empty> TaskService::Shutdown(ttrpc::CallContext, task::ShutdownRequest) {
  // A sandbox that is kept goes with its keeper, and the shim with it.
  if (pod_->is_kept()) co_return wire::Empty();
  is_shut_down_wanted_ = IsAbandoned();
  if (tasks_.empty()) shut_down_.Set();
  co_return wire::Empty();
}

bool TaskService::HasTasks() const {
  for (const auto& [id, entry] : tasks_) {
    if (entry == nullptr || ::access(entry->bundle.c_str(), F_OK) == 0) return true;
  }
  return false;
}

std::vector<std::string> TaskService::Describe() const {
  std::vector<std::string> lines(1, pod_->Describe());
  if (tasks_.empty()) lines.push_back("no container");
  for (const auto& [id, entry] : tasks_) {
    if (entry == nullptr) {
      lines.push_back(absl::StrCat("container \"", id, "\": being created"));
      continue;
    }
    std::string line = absl::StrCat("container \"", id, "\": ", task::Status_Name(StatusOf(*entry, *entry->init)),
                                    entry->is_deleting ? ", being deleted" : "", ", process ", entry->pid);
    for (const auto& [exec_id, record] : entry->execs) {
      absl::StrAppend(&line, ", exec \"", exec_id, "\" ", task::Status_Name(StatusOf(*entry, *record)));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<TaskSummary> TaskService::Summaries() const {
  std::vector<TaskSummary> out;
  for (const auto& [id, entry] : tasks_) {
    TaskSummary& summary = out.emplace_back();
    summary.id = id;
    if (entry == nullptr) continue;
    summary.bundle = entry->bundle;
    summary.pid = entry->pid;
    summary.processes.push_back(SummaryOf(*entry, *entry->init));
    for (const auto& [exec_id, record] : entry->execs) summary.processes.push_back(SummaryOf(*entry, *record));
  }
  return out;
}

Co<void> TaskService::WaitShutDown() {
  auto self = shared_from_this();
  co_await shut_down_.Wait();
}

}  // namespace kata::shimv2
