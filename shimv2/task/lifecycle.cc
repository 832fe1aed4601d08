// SPDX-License-Identifier: Apache-2.0
// The part of TaskService that makes and removes tasks: the first brings the sandbox, the last takes it along, unless
// somebody keeps it.
#include <signal.h>
#include <unistd.h>

#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "shimv2/task/task_service.h"

namespace kata::shimv2 {
namespace {

namespace task = containerd::task;
namespace vc = virtcontainers;

// For the exit's event to be queued before the delete's; the exit is known by then.
constexpr std::chrono::seconds kExitEventTimeout{2};

StdioPaths PathsOf(const task::CreateTaskRequest& request) {
  StdioPaths paths;
  paths.in = request.stdin();
  paths.out = request.stdout();
  paths.err = request.stderr();
  paths.terminal = request.terminal();
  return paths;
}

vc::ContainerOptions ContainerOptionsOf(const task::CreateTaskRequest& request, const StdioPaths& paths) {
  vc::ContainerOptions options;
  options.id = request.id();
  options.bundle = request.bundle();
  options.terminal = request.terminal();
  options.stdio.has_stdin = !paths.in.empty();
  options.stdio.has_stdout = HasOutput(paths);
  options.stdio.has_stderr = HasErrors(paths);
  for (const task::Mount& mount : request.rootfs()) {
    vc::RootfsMount entry;
    entry.type = mount.type();
    entry.source = mount.source();
    entry.target = mount.target();
    entry.options.assign(mount.options().begin(), mount.options().end());
    options.rootfs.push_back(std::move(entry));
  }
  return options;
}

}  // namespace

Answer<task::CreateTaskResponse> TaskService::Create(ttrpc::CallContext, task::CreateTaskRequest request) {
  if (!request.checkpoint().empty()) {
    co_return absl::UnimplementedError("creating a container from a checkpoint is not supported");
  }
  const std::string& id = request.id();
  // It would boot a machine that nobody ends.
  if (shut_down_.is_set()) {
    co_return absl::UnavailableError(
        absl::StrCat("creating container \"", id, "\": its shim is shutting down; try again"));
  }
  if (tasks_.contains(id)) {
    co_return absl::AlreadyExistsError(absl::StrCat("creating container \"", id, "\": it exists already"));
  }
  // The empty slot makes a concurrent Create of the same id fail.
  tasks_[id] = nullptr;
  auto created = co_await CreateTask(request);
  if (created.ok() && abandoned_.contains(id)) {
    co_await Abandon(*created);
    created = absl::CancelledError("its caller has given up");
  }
  if (!created.ok()) {
    tasks_.erase(id);
    abandoned_.erase(id);
    if (tasks_.empty() && !pod_->is_kept()) co_await pod_->Stop();
    if (tasks_.empty() && is_shut_down_wanted_) shut_down_.Set();
    co_return Annotate(created.status(), absl::StrCat("creating container \"", id, "\""));
  }
  std::shared_ptr<TaskRecord> entry = *created;
  tasks_[id] = entry;
  events_.Created(request, *entry);
  WatchOom(entry);
  Spawn(executor_, "watching a process", WatchExit(shared_from_this(), entry, entry->init));
  task::CreateTaskResponse response;
  response.set_pid(static_cast<uint32_t>(entry->pid));
  co_return response;
}

Co<absl::StatusOr<std::shared_ptr<TaskRecord>>> TaskService::CreateTask(task::CreateTaskRequest request) {
  std::function<absl::StatusOr<BundleInfo>()> read = [bundle = request.bundle(), id = request.id()] {
    return ReadBundle(bundle, id);
  };
  auto info = co_await RunBlockingFor<BundleInfo>(pool_, std::move(read));
  if (!info.ok()) co_return info.status();
  auto init = std::make_shared<ProcessRecord>(executor_);
  init->container_id = request.id();
  init->paths = PathsOf(request);
  CO_ASSIGN_OR_RETURN(StdioFiles opened, OpenStdioFiles(init->paths));
  auto files = std::make_shared<StdioFiles>(std::move(opened));
  absl::Status ensured = co_await pod_->Ensure(DescribePod(*info, request.options()));
  if (!ensured.ok()) co_return ensured;
  // The machine boots meanwhile.
  absl::Status logging = co_await StartLogger(init, files);
  if (!logging.ok()) co_return logging;
  StdioFiles ready = std::move(*files);
  auto entry = co_await FillTask(request, *info, init, std::move(ready));
  if (!entry.ok()) {
    std::vector<std::shared_ptr<ProcessRecord>> failed(1, init);
    co_await StopLoggers(std::move(failed));
  }
  co_return entry;
}

Co<absl::StatusOr<std::shared_ptr<TaskRecord>>> TaskService::FillTask(task::CreateTaskRequest request, BundleInfo info,
                                                                      std::shared_ptr<ProcessRecord> init,
                                                                      StdioFiles files) {
  std::shared_ptr<vc::Sandbox> sandbox = pod_->sandbox();
  if (sandbox == nullptr) co_return absl::UnavailableError("the sandbox was stopped meanwhile");
  vc::ContainerOptions options = ContainerOptionsOf(request, init->paths);
  options.document = std::move(info.document);
  options.is_sandbox = info.is_sandbox;
  auto container = co_await sandbox->CreateContainer(std::move(options));
  if (!container.ok()) co_return container.status();
  auto entry = std::make_shared<TaskRecord>();
  entry->id = request.id();
  entry->bundle = request.bundle();
  entry->container = *container;
  // A machine that ended this very moment has no pid any more; what names a task must name a live process.
  entry->pid = sandbox->VmPid() > 0 ? sandbox->VmPid() : ::getpid();
  entry->init = init;
  init->process = (*container)->init();
  absl::Status attached = co_await AttachStdio(init, std::move(files));
  if (!attached.ok()) {
    co_await RemoveFailed(sandbox, request.id());
    co_return attached;
  }
  co_return entry;
}

Co<void> TaskService::RemoveFailed(std::shared_ptr<vc::Sandbox> sandbox, std::string id) {
  std::shared_ptr<vc::Container> container = sandbox->FindContainer(id);
  if (container != nullptr) {
    absl::Status killed = co_await container->Kill("", SIGKILL, true);
    if (killed.ok()) co_await container->init()->WaitExit();
  }
  absl::Status removed = co_await sandbox->DeleteContainer(id);
  if (!removed.ok()) log::Warn("undoing a failed create: {}", removed.message());
}

// A container that nobody will ever know.
Co<void> TaskService::Abandon(std::shared_ptr<TaskRecord> entry) {
  if (entry->init->relay) entry->init->relay->Close();
  if (pod_->sandbox() != nullptr) co_await RemoveFailed(pod_->sandbox(), entry->id);
  std::vector<std::shared_ptr<ProcessRecord>> records(1, entry->init);
  co_await StopLoggers(std::move(records));
}

Answer<task::DeleteResponse> TaskService::Delete(ttrpc::CallContext, task::DeleteRequest request) {
  auto self = shared_from_this();
  if (IsBeingCreated(request.id()) && request.exec_id().empty()) {
    abandoned_.insert(request.id());
    // Nobody else needs the machine, which may be booting: it ends at once, and with it what waits for it.
    if (IsAbandoned() && !pod_->is_kept()) co_await pod_->Stop();
  }
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  CO_ASSIGN_OR_RETURN(std::shared_ptr<ProcessRecord> record, FindProcess(entry, request.exec_id()));
  absl::Status status;
  if (request.exec_id().empty()) {
    status = co_await DeleteTask(entry);
  } else {
    status = co_await DeleteExec(entry, record);
  }
  if (!status.ok()) co_return status;
  task::DeleteResponse response;
  response.set_pid(static_cast<uint32_t>(entry->pid));
  FillExit(*record->process, response);
  co_return response;
}

Co<absl::Status> TaskService::DeleteTask(std::shared_ptr<TaskRecord> entry) {
  if (entry->is_deleting) {
    co_return absl::NotFoundError(absl::StrCat("container \"", entry->id, "\" is being deleted"));
  }
  if (entry->init->is_starting || entry->init->process->state() == vc::ProcessState::kRunning) {
    const char* state = entry->container->is_paused() ? "paused" : "running";
    co_return absl::FailedPreconditionError(
        absl::StrCat("deleting container \"", entry->id, "\": it is ", state, "; kill it first"));
  }
  entry->is_deleting = true;
  absl::Status removed = co_await RemoveTask(entry);
  if (!removed.ok()) {
    entry->is_deleting = false;
    co_return removed;
  }
  // Every process of it has stopped now.
  co_await entry->init->exit_published.WaitFor(kExitEventTimeout);
  tasks_.erase(entry->id);
  events_.Deleted(*entry);
  co_return absl::OkStatus();
}

Co<absl::Status> TaskService::RemoveTask(std::shared_ptr<TaskRecord> entry) {
  if (entry->init->process->state() == vc::ProcessState::kCreated) {
    absl::Status killed = co_await entry->container->Kill("", SIGKILL, true);
    if (killed.ok()) co_await entry->init->exit_published.WaitFor(kKillTimeout);
  }
  if (entry->init->relay) {
    co_await entry->init->relay->WaitDrained(kDrainTimeout);
    entry->init->relay->Close();
  }
  std::shared_ptr<vc::Sandbox> sandbox = pod_->sandbox();
  absl::Status removed;
  // A container that is being created counts: its sandbox must not go.
  if (sandbox != nullptr && (tasks_.size() > 1 || pod_->is_kept())) {
    removed = co_await sandbox->DeleteContainer(entry->id);
  } else {
    co_await pod_->Stop();
  }
  std::vector<std::shared_ptr<ProcessRecord>> records(1, entry->init);
  for (auto& [exec_id, record] : entry->execs) {
    if (record->relay) record->relay->Close();
    records.push_back(record);
  }
  co_await StopLoggers(std::move(records));
  co_return removed;
}

Co<absl::Status> TaskService::DeleteExec(std::shared_ptr<TaskRecord> entry, std::shared_ptr<ProcessRecord> record) {
  if (record->is_deleting) {
    co_return absl::NotFoundError(absl::StrCat("process \"", record->exec_id, "\" is being deleted"));
  }
  if (record->is_starting || record->process->state() == vc::ProcessState::kRunning) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("deleting process \"", record->exec_id, "\": it is running; kill it first"));
  }
  record->is_deleting = true;
  if (record->relay) {
    co_await record->relay->WaitDrained(kDrainTimeout);
    record->relay->Close();
  }
  std::vector<std::shared_ptr<ProcessRecord>> records(1, record);
  co_await StopLoggers(std::move(records));
  absl::Status removed = co_await entry->container->DeleteExec(record->exec_id);
  if (!removed.ok() && !absl::IsNotFound(removed)) {
    record->is_deleting = false;
    co_return removed;
  }
  entry->execs.erase(record->exec_id);
  co_return absl::OkStatus();
}

}  // namespace kata::shimv2
