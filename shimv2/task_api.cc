// SPDX-License-Identifier: Apache-2.0
#include "shimv2/task_api.h"

#include <signal.h>
#include <unistd.h>

#include <map>
#include <utility>

#include <absl/strings/match.h>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/events.pb.h"
#include "proto/schema/runtime_options.pb.h"
#include "shimv2/bundle.h"
#include "shimv2/installation.h"
#include "shimv2/stdio_relay.h"
#include "virtcontainers/sandbox.h"

namespace kata::shimv2 {
namespace {

namespace task = containerd::task;
namespace events = containerd::events;
namespace vc = virtcontainers;

// One process that a caller knows: the init of a container or an exec.
struct ProcessRecord {
  std::string container_id;
  std::string exec_id;  // empty = init
  StdioPaths paths;
  std::shared_ptr<vc::Process> process;
  std::shared_ptr<StdioRelay> relay;
  bool close_stdin_requested = false;
  bool is_starting = false;
  std::shared_ptr<Event> start_published;  // an exit is never published before its start
};
using Record = std::shared_ptr<ProcessRecord>;

struct TaskRecord {
  std::string id;
  std::string bundle;
  std::shared_ptr<vc::Container> container;
  Record init;
  std::map<std::string, Record> execs;
  pid_t pid = 0;
  bool is_deleting = false;
};
using Task = std::shared_ptr<TaskRecord>;

void SetTimestamp(wire::Timestamp* out, int64_t ns) {
  out->set_seconds(ns / 1000000000);
  out->set_nanos(static_cast<int32_t>(ns % 1000000000));
}

vc::StdioFlags FlagsOf(const StdioPaths& paths) {
  vc::StdioFlags flags;
  flags.has_stdin = !paths.in.empty();
  flags.has_stdout = !paths.out.empty();
  flags.has_stderr = !paths.err.empty() && !paths.terminal;
  return flags;
}

template <typename Request>
StdioPaths PathsOf(const Request& request) {
  StdioPaths paths;
  paths.in = request.stdin();
  paths.out = request.stdout();
  paths.err = request.stderr();
  paths.terminal = request.terminal();
  return paths;
}

absl::StatusOr<std::string> ConfigPathOf(const task::CreateTaskRequest& request) {
  const std::string& type = request.options().type_url();
  if (type != "runtimeoptions.v1.Options" && !absl::EndsWith(type, "/runtimeoptions.v1.Options")) return "";
  runtimeoptions::v1::Options options;
  if (!options.ParseFromString(request.options().value())) {
    return absl::InvalidArgumentError("reading the runtime options: they are not a runtimeoptions.v1.Options message");
  }
  return options.config_path();
}

class SandboxTaskApi final : public TaskApi, public std::enable_shared_from_this<SandboxTaskApi> {
 public:
  SandboxTaskApi(asio::any_io_executor executor, asio::thread_pool& pool, std::shared_ptr<EventPublisher> publisher)
      : executor_(executor), pool_(pool), events_(std::move(publisher)), shut_down_(executor) {}

  Answer<task::StateResponse> State(task::StateRequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
    CO_ASSIGN_OR_RETURN(Record record, FindProcess(entry, request.exec_id()));
    task::StateResponse response;
    response.set_id(request.exec_id().empty() ? request.id() : request.exec_id());
    response.set_exec_id(request.exec_id());
    response.set_bundle(entry->bundle);
    response.set_pid(static_cast<uint32_t>(entry->pid));
    response.set_stdin(record->paths.in);
    response.set_stdout(record->paths.out);
    response.set_stderr(record->paths.err);
    response.set_terminal(record->paths.terminal);
    switch (record->process->state()) {
      case vc::ProcessState::kCreated: response.set_status(task::CREATED); break;
      case vc::ProcessState::kRunning: response.set_status(task::RUNNING); break;
      case vc::ProcessState::kStopped: response.set_status(task::STOPPED); break;
    }
    if (record->process->exit().has_value()) {
      response.set_exit_status(record->process->exit()->status);
      SetTimestamp(response.mutable_exited_at(), record->process->exit()->exited_at_ns);
    }
    co_return response;
  }

  Answer<task::CreateTaskResponse> Create(task::CreateTaskRequest request) override {
    if (!request.checkpoint().empty()) {
      co_return absl::UnimplementedError("creating a container from a checkpoint is not supported");
    }
    const std::string id = request.id();
    if (tasks_.contains(id)) {
      co_return absl::AlreadyExistsError(absl::StrCat("creating container \"", id, "\": it exists already"));
    }
    // The empty slot makes a concurrent Create of the same id fail.
    tasks_[id] = nullptr;
    auto created = co_await CreateTask(request);
    if (!created.ok()) {
      tasks_.erase(id);
      if (tasks_.empty()) co_await StopSandbox();
      co_return Annotate(created.status(), absl::StrCat("creating container \"", id, "\""));
    }
    Task entry = *created;
    tasks_[id] = entry;
    PublishCreate(request, entry);
    Spawn(executor_, "watching a process", WatchExit(shared_from_this(), entry, entry->init));
    task::CreateTaskResponse response;
    response.set_pid(static_cast<uint32_t>(entry->pid));
    co_return response;
  }

  Answer<task::StartResponse> Start(task::StartRequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
    CO_ASSIGN_OR_RETURN(Record record, FindProcess(entry, request.exec_id()));
    if (record->is_starting || record->process->state() != vc::ProcessState::kCreated) {
      co_return absl::FailedPreconditionError(
          absl::StrCat("starting process \"", NameOf(record), "\": it was started already"));
    }
    record->is_starting = true;
    record->start_published = std::make_shared<Event>(executor_);
    absl::Status status;
    if (request.exec_id().empty()) {
      status = co_await entry->container->Start();
    } else {
      status = co_await StartExec(entry, record);
    }
    if (status.ok()) PublishStart(entry, record);
    if (request.exec_id().empty()) log::Info("timeline: container started");
    record->is_starting = false;
    record->start_published->Set();
    if (!status.ok()) co_return status;
    task::StartResponse response;
    response.set_pid(static_cast<uint32_t>(entry->pid));
    co_return response;
  }

  Answer<task::DeleteResponse> Delete(task::DeleteRequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
    CO_ASSIGN_OR_RETURN(Record record, FindProcess(entry, request.exec_id()));
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

  Answer<task::PidsResponse> Pids(task::PidsRequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
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

  Answer<wire::Empty> Kill(task::KillRequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
    CO_ASSIGN_OR_RETURN(Record record, FindProcess(entry, request.exec_id()));
    absl::Status status = co_await entry->container->Kill(request.exec_id(), request.signal(), request.all());
    co_return Done(status);
  }

  Answer<wire::Empty> Exec(task::ExecProcessRequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
    vc::ExecOptions options;
    options.exec_id = request.exec_id();
    options.process_json = request.spec().value();
    options.terminal = request.terminal();
    auto record = std::make_shared<ProcessRecord>();
    record->container_id = request.id();
    record->exec_id = request.exec_id();
    record->paths = PathsOf(request);
    options.stdio = FlagsOf(record->paths);
    CO_ASSIGN_OR_RETURN(record->process, entry->container->AddExec(std::move(options)));
    entry->execs[record->exec_id] = record;
    Spawn(executor_, "watching an exec", WatchExit(shared_from_this(), entry, record));
    events::TaskExecAdded event;
    event.set_container_id(request.id());
    event.set_exec_id(request.exec_id());
    Publish("/tasks/exec-added", "containerd.events.TaskExecAdded", event);
    co_return wire::Empty();
  }

  Answer<wire::Empty> ResizePty(task::ResizePtyRequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
    CO_ASSIGN_OR_RETURN(Record record, FindProcess(entry, request.exec_id()));
    if (!record->paths.terminal) co_return wire::Empty();
    absl::Status status =
        co_await entry->container->ResizeTerminal(request.exec_id(), request.width(), request.height());
    co_return Done(status);
  }

  Answer<wire::Empty> CloseIO(task::CloseIORequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
    CO_ASSIGN_OR_RETURN(Record record, FindProcess(entry, request.exec_id()));
    if (request.stdin()) {
      record->close_stdin_requested = true;
      if (record->relay) record->relay->CloseStdin();
    }
    co_return wire::Empty();
  }

  Answer<task::WaitResponse> Wait(task::WaitRequest request) override {
    CO_ASSIGN_OR_RETURN(Task entry, Find(request.id()));
    CO_ASSIGN_OR_RETURN(Record record, FindProcess(entry, request.exec_id()));
    vc::ExitStatus exit = co_await record->process->WaitExit();
    task::WaitResponse response;
    response.set_exit_status(exit.status);
    SetTimestamp(response.mutable_exited_at(), exit.exited_at_ns);
    co_return response;
  }

  Answer<task::ConnectResponse> Connect(task::ConnectRequest request) override {
    task::ConnectResponse response;
    response.set_shim_pid(static_cast<uint32_t>(::getpid()));
    auto at = tasks_.find(request.id());
    if (at != tasks_.end() && at->second) response.set_task_pid(static_cast<uint32_t>(at->second->pid));
    co_return response;
  }

  Answer<wire::Empty> Shutdown(task::ShutdownRequest) override {
    if (tasks_.empty()) shut_down_.Set();
    co_return wire::Empty();
  }

  Answer<wire::Empty> Pause(task::PauseRequest) override { co_return NotSupported("pausing a container"); }
  Answer<wire::Empty> Resume(task::ResumeRequest) override { co_return NotSupported("resuming a container"); }
  Answer<wire::Empty> Checkpoint(task::CheckpointTaskRequest) override {
    co_return NotSupported("checkpointing a container");
  }
  Answer<wire::Empty> Update(task::UpdateTaskRequest) override {
    co_return NotSupported("updating a container's resources");
  }
  Answer<task::StatsResponse> Stats(task::StatsRequest) override {
    co_return NotSupported("reading a container's statistics");
  }

  Co<void> WaitShutDown() override {
    auto self = shared_from_this();
    co_await shut_down_.Wait();
  }
  void RequestShutDown() override { shut_down_.Set(); }

  Co<void> StopSandbox() override {
    auto self = shared_from_this();
    std::shared_ptr<vc::Sandbox> sandbox = std::exchange(sandbox_, nullptr);
    if (sandbox == nullptr) co_return;
    absl::Status status = co_await sandbox->Stop();
    if (!status.ok()) log::Warn("stopping the sandbox: {}", status.message());
  }

 private:
  static absl::Status NotSupported(const char* what) {
    return absl::UnimplementedError(absl::StrCat(what, " is not supported"));
  }
  static absl::StatusOr<wire::Empty> Done(const absl::Status& status) {
    if (!status.ok()) return status;
    return wire::Empty();
  }
  static std::string NameOf(const Record& record) {
    return record->exec_id.empty() ? record->container_id : record->exec_id;
  }
  template <typename Response>
  static void FillExit(const vc::Process& process, Response& response) {
    if (!process.exit().has_value()) return;
    response.set_exit_status(process.exit()->status);
    SetTimestamp(response.mutable_exited_at(), process.exit()->exited_at_ns);
  }

  absl::StatusOr<Task> Find(const std::string& id) const {
    auto at = tasks_.find(id);
    if (at == tasks_.end() || at->second == nullptr) {
      return absl::NotFoundError(absl::StrCat("container \"", id, "\" is not here"));
    }
    return at->second;
  }
  static absl::StatusOr<Record> FindProcess(const Task& entry, const std::string& exec_id) {
    if (exec_id.empty()) return entry->init;
    auto at = entry->execs.find(exec_id);
    if (at == entry->execs.end()) {
      return absl::NotFoundError(absl::StrCat("process \"", exec_id, "\" of container \"", entry->id, "\" is not here"));
    }
    return at->second;
  }

  template <typename Message>
  void Publish(const char* topic, const char* type, const Message& message) {
    events_->Publish(topic, type, message.SerializeAsString());
  }
  void PublishCreate(const task::CreateTaskRequest& request, const Task& entry) {
    events::TaskCreate event;
    event.set_container_id(entry->id);
    event.set_bundle(entry->bundle);
    *event.mutable_rootfs() = request.rootfs();
    event.mutable_io()->set_stdin(request.stdin());
    event.mutable_io()->set_stdout(request.stdout());
    event.mutable_io()->set_stderr(request.stderr());
    event.mutable_io()->set_terminal(request.terminal());
    event.set_pid(static_cast<uint32_t>(entry->pid));
    Publish("/tasks/create", "containerd.events.TaskCreate", event);
  }
  void PublishStart(const Task& entry, const Record& record) {
    if (record->exec_id.empty()) {
      events::TaskStart event;
      event.set_container_id(entry->id);
      event.set_pid(static_cast<uint32_t>(entry->pid));
      Publish("/tasks/start", "containerd.events.TaskStart", event);
    } else {
      events::TaskExecStarted event;
      event.set_container_id(entry->id);
      event.set_exec_id(record->exec_id);
      event.set_pid(static_cast<uint32_t>(entry->pid));
      Publish("/tasks/exec-started", "containerd.events.TaskExecStarted", event);
    }
  }

  Co<absl::StatusOr<Task>> CreateTask(task::CreateTaskRequest request) {
    std::function<absl::StatusOr<BundleInfo>()> read = [bundle = request.bundle(), id = request.id()] {
      return ReadBundle(bundle, id);
    };
    auto info = co_await RunBlockingFor<BundleInfo>(pool_, std::move(read));
    if (!info.ok()) co_return info.status();
    StdioPaths paths = PathsOf(request);
    CO_ASSIGN_OR_RETURN(StdioFiles files, OpenStdioFiles(paths));
    if (sandbox_ == nullptr) {
      absl::Status made = MakeSandbox(request, *info);
      if (!made.ok()) co_return made;
    }
    std::shared_ptr<vc::Sandbox> sandbox = sandbox_;
    vc::ContainerOptions options;
    options.id = request.id();
    options.bundle = request.bundle();
    options.terminal = request.terminal();
    options.stdio = FlagsOf(paths);
    for (const task::Mount& mount : request.rootfs()) {
      vc::RootfsMount entry;
      entry.type = mount.type();
      entry.source = mount.source();
      entry.target = mount.target();
      entry.options.assign(mount.options().begin(), mount.options().end());
      options.rootfs.push_back(std::move(entry));
    }
    auto container = co_await sandbox->CreateContainer(std::move(options));
    if (!container.ok()) co_return container.status();
    auto entry = std::make_shared<TaskRecord>();
    entry->id = request.id();
    entry->bundle = request.bundle();
    entry->container = *container;
    entry->pid = sandbox->VmPid();
    entry->init = std::make_shared<ProcessRecord>();
    entry->init->container_id = request.id();
    entry->init->paths = paths;
    entry->init->process = (*container)->init();
    absl::Status attached = co_await AttachStdio(entry->init, std::move(files));
    if (!attached.ok()) {
      co_await RemoveFailed(sandbox, request.id());
      co_return attached;
    }
    co_return entry;
  }

  Co<void> RemoveFailed(std::shared_ptr<vc::Sandbox> sandbox, std::string id) {
    std::shared_ptr<vc::Container> container = sandbox->FindContainer(id);
    if (container != nullptr) {
      absl::Status killed = co_await container->Kill("", SIGKILL, true);
      if (killed.ok()) co_await container->init()->WaitExit();
    }
    absl::Status removed = co_await sandbox->DeleteContainer(id);
    if (!removed.ok()) log::Warn("undoing a failed create: {}", removed.message());
  }

  absl::Status MakeSandbox(const task::CreateTaskRequest& request, const BundleInfo& info) {
    ASSIGN_OR_RETURN(std::string config_path, ConfigPathOf(request));
    vc::SandboxOptions options;
    options.id = info.sandbox_id;
    ASSIGN_OR_RETURN(options.config, vc::LoadConfig(InstallationPrefix(), config_path));
    options.netns_path = info.netns_path;
    options.hostname = info.hostname;
    if (options.config.enable_debug) log::SetLevel(log::Level::kDebug);
    sandbox_ = vc::Sandbox::Make(executor_, pool_, std::move(options));
    Spawn(executor_, "starting the sandbox", StartSandbox(sandbox_));
    return absl::OkStatus();
  }

  // The error of a failed start reaches the caller through CreateContainer, which waits for it.
  static Co<absl::Status> StartSandbox(std::shared_ptr<vc::Sandbox> sandbox) {
    absl::Status status = co_await sandbox->Start();
    if (!status.ok()) log::Debug("the sandbox did not start: {}", status.message());
    co_return absl::OkStatus();
  }

  Co<absl::Status> AttachStdio(Record record, StdioFiles files) {
    const vc::StdioFlags flags = FlagsOf(record->paths);
    if (!flags.has_stdin && !flags.has_stdout && !flags.has_stderr) co_return absl::OkStatus();
    auto stream = co_await record->process->OpenStdio();
    if (!stream.ok()) co_return stream.status();
    record->relay = StdioRelay::Start(executor_, std::move(files), std::move(*stream));
    if (record->close_stdin_requested) record->relay->CloseStdin();
    co_return absl::OkStatus();
  }

  Co<absl::Status> StartExec(Task entry, Record record) {
    CO_ASSIGN_OR_RETURN(StdioFiles files, OpenStdioFiles(record->paths));
    absl::Status status = co_await entry->container->StartExec(record->exec_id);
    if (!status.ok()) co_return status;
    absl::Status attached = co_await AttachStdio(record, std::move(files));
    // The process runs already; without its streams it is still there to be waited for and killed.
    if (!attached.ok()) log::Warn("attaching stdio of exec \"{}\": {}", record->exec_id, attached.message());
    co_return absl::OkStatus();
  }

  Co<absl::Status> DeleteTask(Task entry) {
    if (entry->is_deleting) {
      co_return absl::NotFoundError(absl::StrCat("container \"", entry->id, "\" is being deleted"));
    }
    if (entry->init->is_starting || entry->init->process->state() == vc::ProcessState::kRunning) {
      co_return absl::FailedPreconditionError(
          absl::StrCat("deleting container \"", entry->id, "\": it is running; kill it first"));
    }
    entry->is_deleting = true;
    if (entry->init->process->state() == vc::ProcessState::kCreated) {
      absl::Status killed = co_await entry->container->Kill("", SIGKILL, true);
      if (killed.ok()) co_await entry->init->process->WaitExit();
    }
    if (entry->init->relay) {
      co_await entry->init->relay->WaitDrained(kDrainTimeout);
      entry->init->relay->Close();
    }
    std::shared_ptr<vc::Sandbox> sandbox = sandbox_;
    absl::Status removed;
    // A container that is being created counts: its sandbox must not go.
    if (sandbox != nullptr && tasks_.size() > 1) {
      removed = co_await sandbox->DeleteContainer(entry->id);
    } else {
      co_await StopSandbox();
    }
    for (auto& [exec_id, record] : entry->execs) {
      if (record->relay) record->relay->Close();
    }
    if (!removed.ok()) {
      entry->is_deleting = false;
      co_return removed;
    }
    tasks_.erase(entry->id);
    events::TaskDelete event;
    event.set_container_id(entry->id);
    event.set_pid(static_cast<uint32_t>(entry->pid));
    if (entry->init->process->exit().has_value()) {
      event.set_exit_status(entry->init->process->exit()->status);
      SetTimestamp(event.mutable_exited_at(), entry->init->process->exit()->exited_at_ns);
    }
    Publish("/tasks/delete", "containerd.events.TaskDelete", event);
    co_return absl::OkStatus();
  }

  Co<absl::Status> DeleteExec(Task entry, Record record) {
    if (record->is_starting || record->process->state() == vc::ProcessState::kRunning) {
      co_return absl::FailedPreconditionError(
          absl::StrCat("deleting process \"", record->exec_id, "\": it is running; kill it first"));
    }
    if (record->relay) {
      co_await record->relay->WaitDrained(kDrainTimeout);
      record->relay->Close();
    }
    absl::Status removed = co_await entry->container->DeleteExec(record->exec_id);
    if (!removed.ok() && !absl::IsNotFound(removed)) co_return removed;
    entry->execs.erase(record->exec_id);
    co_return absl::OkStatus();
  }

  static Co<absl::Status> WatchExit(std::shared_ptr<SandboxTaskApi> self, Task entry, Record record) {
    vc::ExitStatus exit = co_await record->process->WaitExit();
    if (record->exec_id.empty()) log::Info("timeline: container exited with status {}", exit.status);
    if (record->is_starting) {
      std::shared_ptr<Event> published = record->start_published;
      co_await published->Wait();
    }
    if (exit.oom_killed) {
      events::TaskOOM event;
      event.set_container_id(entry->id);
      self->Publish("/tasks/oom", "containerd.events.TaskOOM", event);
    }
    // An exec that was never started has no exit that a caller could know of.
    if (!record->exec_id.empty() && record->start_published == nullptr) co_return absl::OkStatus();
    events::TaskExit event;
    event.set_container_id(entry->id);
    event.set_id(NameOf(record));
    event.set_pid(static_cast<uint32_t>(entry->pid));
    event.set_exit_status(exit.status);
    SetTimestamp(event.mutable_exited_at(), exit.exited_at_ns);
    self->Publish("/tasks/exit", "containerd.events.TaskExit", event);
    co_return absl::OkStatus();
  }

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  std::shared_ptr<EventPublisher> events_;
  std::shared_ptr<vc::Sandbox> sandbox_;
  std::map<std::string, Task> tasks_;  // null while being created
  Event shut_down_;
};

}  // namespace

std::shared_ptr<TaskApi> TaskApi::Make(asio::any_io_executor executor, asio::thread_pool& pool,
                                       std::shared_ptr<EventPublisher> events) {
  return std::make_shared<SandboxTaskApi>(executor, pool, std::move(events));
}

}  // namespace kata::shimv2
