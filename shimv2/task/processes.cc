// SPDX-License-Identifier: Apache-2.0
// The part of TaskService about one process, init or exec.
#include <utility>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/base/timeline.h"
#include "shimv2/task/task_service.h"

namespace kata::shimv2 {
namespace {

namespace task = containerd::task;
namespace vc = virtcontainers;

// The execs of a container end with its init; how long the init's exit event waits for theirs.
constexpr std::chrono::seconds kExecExitTimeout{2};

// How long an exit is kept back for output that does not go on. It comes another way than the exit, and a client may
// give up what has not come when it hears of that.
constexpr std::chrono::seconds kOutputPatience{1};

// How long the start of an exec waits for the readers of its fifos.
constexpr std::chrono::milliseconds kReaderPatience{500};
constexpr std::chrono::milliseconds kReaderPoll{2};
// How long Kill waits to hear from the guest what came of its signal. A guest that stands still takes it later.
constexpr std::chrono::milliseconds kKillPatience{30};

Co<absl::Status> SendSignal(std::shared_ptr<vc::Container> container, task::KillRequest request,
                            std::shared_ptr<Outcome> sent) {
  sent->status = co_await container->Kill(request.exec_id(), request.signal(), request.all());
  sent->known.Set();
  // Its process may have ended before the guest took it.
  if (!sent->is_given_up || absl::IsNotFound(sent->status)) co_return absl::OkStatus();
  co_return sent->status;
}

}  // namespace

Answer<task::StartResponse> TaskService::Start(ttrpc::CallContext, task::StartRequest request) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  CO_ASSIGN_OR_RETURN(std::shared_ptr<ProcessRecord> record, FindProcess(entry, request.exec_id()));
  const std::string what = absl::StrCat("starting process \"", record->name(), "\"");
  if (entry->is_deleting || record->is_deleting) {
    co_return absl::FailedPreconditionError(what + ": it is being deleted");
  }
  // With its machine, before its start as well.
  if (record->process->state() == vc::ProcessState::kStopped) {
    co_return absl::FailedPreconditionError(what + ": it has ended already");
  }
  if (record->is_starting || record->process->state() != vc::ProcessState::kCreated) {
    co_return absl::FailedPreconditionError(what + ": it was started already");
  }
  record->is_starting = true;
  record->start_settled = std::make_shared<Latch>(executor_);
  absl::Status status;
  if (request.exec_id().empty()) {
    status = co_await entry->container->Start();
    if (status.ok()) timeline::Step("container started");
  } else {
    status = co_await StartExec(entry, record);
  }
  if (status.ok()) {
    record->has_started = true;
    events_.Started(*entry, *record);
  }
  record->is_starting = false;
  record->start_settled->Set();
  if (!status.ok()) co_return status;
  task::StartResponse response;
  response.set_pid(static_cast<uint32_t>(entry->pid));
  co_return response;
}

Co<absl::Status> TaskService::OpenExecStdio(std::shared_ptr<ProcessRecord> record, std::shared_ptr<StdioFiles> files) {
  CO_ASSIGN_OR_RETURN(*files, OpenStdioFiles(record->paths));
  // A client that is about to open its end: it gives up its output when it hears of the exit before it could.
  const auto until = std::chrono::steady_clock::now() + kReaderPatience;
  while (!(files->late_out.empty() && files->late_err.empty()) && std::chrono::steady_clock::now() < until) {
    co_await Sleep(kReaderPoll);
    CO_RETURN_IF_ERROR(OpenLateOutputs(*files));
  }
  co_return co_await StartLogger(record, files);
}

Co<absl::Status> TaskService::StartExec(std::shared_ptr<TaskRecord> entry, std::shared_ptr<ProcessRecord> record) {
  auto files = std::make_shared<StdioFiles>();
  absl::Status opened = co_await OpenExecStdio(record, files);
  if (!opened.ok()) {
    // Ends it where it was registered, so that its waiters are released; the record here stays to be deleted.
    absl::Status ended = co_await entry->container->DeleteExec(record->exec_id);
    if (!ended.ok()) log::Debug("ending exec \"{}\" that cannot start: {}", record->exec_id, ended.message());
    co_return opened;
  }
  // On failure the files close, and a logger sees the end of output that never came.
  absl::Status status = co_await entry->container->StartExec(record->exec_id);
  if (!status.ok()) co_return status;
  StdioFiles ready = std::move(*files);
  absl::Status attached = co_await AttachStdio(record, std::move(ready));
  // The process runs already; without its streams it is still there to be waited for and killed.
  if (!attached.ok()) log::Warn("attaching stdio of exec \"{}\": {}", record->exec_id, attached.message());
  co_return absl::OkStatus();
}

Answer<wire::Empty> TaskService::Exec(ttrpc::CallContext, task::ExecProcessRequest request) {
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  const std::string what = absl::StrCat("adding process \"", request.exec_id(), "\" to container \"", entry->id, "\"");
  if (entry->is_deleting) co_return absl::FailedPreconditionError(what + ": it is being deleted");
  if (entry->execs.contains(request.exec_id())) co_return absl::AlreadyExistsError(what + ": it exists already");
  auto record = std::make_shared<ProcessRecord>(executor_);
  record->container_id = request.id();
  record->exec_id = request.exec_id();
  record->paths.in = request.stdin();
  record->paths.out = request.stdout();
  record->paths.err = request.stderr();
  record->paths.terminal = request.terminal();
  vc::ExecOptions options;
  options.exec_id = request.exec_id();
  options.process_json = request.spec().value();
  options.terminal = request.terminal();
  options.stdio.has_stdin = !record->paths.in.empty();
  options.stdio.has_stdout = HasOutput(record->paths);
  options.stdio.has_stderr = HasErrors(record->paths);
  CO_ASSIGN_OR_RETURN(record->process, entry->container->AddExec(std::move(options)));
  entry->execs[record->exec_id] = record;
  Spawn(executor_, "watching an exec", WatchExit(shared_from_this(), entry, record));
  events_.ExecAdded(*record);
  co_return wire::Empty();
}

Answer<wire::Empty> TaskService::Kill(ttrpc::CallContext, task::KillRequest request) {
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  CO_ASSIGN_OR_RETURN(std::shared_ptr<ProcessRecord> record, FindProcess(entry, request.exec_id()));
  auto sent = std::make_shared<Outcome>(executor_);
  Spawn(executor_, "sending a signal", SendSignal(entry->container, std::move(request), sent));
  co_await sent->known.WaitFor(kKillPatience);
  if (!sent->status.ok()) co_return sent->status;
  sent->is_given_up = true;
  co_return wire::Empty();
}

Answer<wire::Empty> TaskService::ResizePty(ttrpc::CallContext, task::ResizePtyRequest request) {
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  CO_ASSIGN_OR_RETURN(std::shared_ptr<ProcessRecord> record, FindProcess(entry, request.exec_id()));
  if (!record->paths.terminal) co_return wire::Empty();
  if (record->process->state() == vc::ProcessState::kStopped) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("resizing the terminal of process \"", record->name(), "\": it has stopped"));
  }
  absl::Status status = co_await entry->container->ResizeTerminal(request.exec_id(), request.width(), request.height());
  if (!status.ok()) co_return status;
  co_return wire::Empty();
}

Answer<wire::Empty> TaskService::CloseIO(ttrpc::CallContext, task::CloseIORequest request) {
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  CO_ASSIGN_OR_RETURN(std::shared_ptr<ProcessRecord> record, FindProcess(entry, request.exec_id()));
  if (request.stdin()) {
    record->close_stdin_requested = true;
    if (record->relay) record->relay->CloseStdin();
  }
  co_return wire::Empty();
}

Co<vc::ExitStatus> TaskService::WaitExitAndOutput(std::shared_ptr<ProcessRecord> record) {
  vc::ExitStatus exit = co_await record->process->WaitExit();
  if (record->is_starting) {
    std::shared_ptr<Latch> settled = record->start_settled;
    co_await settled->Wait();
  }
  std::shared_ptr<StdioRelay> relay = record->relay;
  if (relay != nullptr) co_await relay->WaitDrained(kOutputPatience);
  co_return exit;
}

Answer<task::WaitResponse> TaskService::Wait(ttrpc::CallContext, task::WaitRequest request) {
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TaskRecord> entry, Find(request.id()));
  CO_ASSIGN_OR_RETURN(std::shared_ptr<ProcessRecord> record, FindProcess(entry, request.exec_id()));
  vc::ExitStatus exit = co_await WaitExitAndOutput(record);
  task::WaitResponse response;
  response.set_exit_status(exit.status);
  SetTimestamp(response.mutable_exited_at(), exit.exited_at_ns);
  co_return response;
}

Co<void> TaskService::WaitForExecExits(std::shared_ptr<TaskRecord> entry) {
  const auto end = std::chrono::steady_clock::now() + kExecExitTimeout;
  std::vector<std::shared_ptr<ProcessRecord>> execs;
  for (const auto& [exec_id, record] : entry->execs) {
    if (record->has_started) execs.push_back(record);
  }
  for (const std::shared_ptr<ProcessRecord>& record : execs) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) co_return;
    co_await record->exit_published.WaitFor(left);
  }
}

Co<absl::Status> TaskService::WatchExit(std::shared_ptr<TaskService> self, std::shared_ptr<TaskRecord> entry,
                                        std::shared_ptr<ProcessRecord> record) {
  vc::ExitStatus exit = co_await WaitExitAndOutput(record);
  const bool is_init = record->exec_id.empty();
  if (is_init) timeline::Step("container exited with status {}", exit.status);
  if (is_init) co_await WaitForExecExits(entry);
  // An exec that never ran has no exit that a caller could know of.
  if (is_init || record->has_started) self->events_.Exited(*entry, *record);
  record->exit_published.Set();
  co_return absl::OkStatus();
}

}  // namespace kata::shimv2
