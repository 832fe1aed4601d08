// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/guest_container.h"

#include <signal.h>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/container/late_calls.h"
#include "virtcontainers/oci/spec.h"

namespace kata::virtcontainers {
namespace {

constexpr uint32_t kFailedStartStatus = 255;
constexpr std::chrono::seconds kFailedStartWait{5};
constexpr uint32_t kNeverStartedStatus = 0;  // deleted before its start: as runc's shim answers

agent::v1::ProcessId IdOf(const std::string& container_id, const std::string& exec_id) {
  agent::v1::ProcessId id;
  id.set_container_id(container_id);
  id.set_exec_id(exec_id);
  return id;
}

// The agent's connection ends with the machine, or the machine with it.
absl::Status WithMachinesEnd(const absl::Status& status, const ttrpc::Connection& connection) {
  if (!absl::IsUnavailable(status) || !connection.is_closed()) return status;
  return Annotate(status, "the virtual machine has ended");
}

}  // namespace

GuestContainer::GuestContainer(asio::any_io_executor executor, std::shared_ptr<ttrpc::Connection> connection,
                               ContainerOptions options)
    : executor_(executor), connection_(std::move(connection)), options_(std::move(options)) {
  init_ = std::make_shared<GuestProcess>(executor_, connection_, options_.id, "");
}

// Only once `this` is in a shared_ptr.
void GuestContainer::Adopt(GuestProcess& process) {
  process.OnOomKills([weak = weak_from_this()](uint64_t kills) {
    if (auto self = weak.lock()) self->CountOomKills(kills);
  });
}

std::shared_ptr<Process> GuestContainer::FindExec(const std::string& exec_id) const {
  auto at = execs_.find(exec_id);
  return at != execs_.end() ? at->second->process : nullptr;
}

std::vector<std::string> GuestContainer::ExecIds() const {
  std::vector<std::string> out;
  for (const auto& [id, exec] : execs_) out.push_back(id);
  return out;
}

absl::StatusOr<std::shared_ptr<GuestContainer::Exec>> GuestContainer::Find(const std::string& exec_id) const {
  auto at = execs_.find(exec_id);
  if (at == execs_.end()) {
    return absl::NotFoundError(
        absl::StrCat("process \"", exec_id, "\" of container \"", options_.id, "\" is not here"));
  }
  return at->second;
}

Co<absl::Status> GuestContainer::Start() {
  auto self = shared_from_this();
  if (init_->state() != ProcessState::kCreated) {
    co_return absl::FailedPreconditionError(
        absl::StrCat("starting container \"", options_.id, "\": it was started already"));
  }
  if (start_handler_) {
    absl::Status prepared = co_await start_handler_();
    if (!prepared.ok()) {
      const absl::Status status = WithMachinesEnd(prepared, *connection_);
      co_return Annotate(status, absl::StrCat("starting container \"", options_.id, "\""));
    }
  }
  agent::v1::AgentClient client(connection_);
  agent::v1::ProcessId request = IdOf(options_.id, "");
  auto response = co_await client.StartContainer(std::move(request), start_timeout_);
  if (!response.ok()) {
    // Its program could not be executed, or a hook has failed, and its process is at its end: the caller that now asks
    // is to hear that.
    const absl::StatusCode code = response.status().code();
    const bool has_ended = code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kInternal;
    if (has_ended) co_await init_->WaitExitFor(kFailedStartWait);
    const absl::Status status = WithMachinesEnd(response.status(), *connection_);
    co_return Annotate(status, absl::StrCat("starting container \"", options_.id, "\""));
  }
  init_->SetRunning();
  if (!started_handler_) co_return absl::OkStatus();
  absl::Status hooked = co_await started_handler_();
  if (hooked.ok()) co_return hooked;
  absl::Status killed = co_await Kill("", SIGKILL, true);
  if (killed.ok()) co_await init_->WaitExitFor(kSignalTimeout);
  co_return Annotate(hooked, absl::StrCat("starting container \"", options_.id, "\""));
}

absl::StatusOr<std::shared_ptr<Process>> GuestContainer::AddExec(ExecOptions options) {
  const std::string what = absl::StrCat("adding process \"", options.exec_id, "\" to container \"", options_.id, "\"");
  if (options.exec_id.empty()) return absl::InvalidArgumentError(what + ": it needs an id");
  if (options_.is_sandbox) {
    return absl::FailedPreconditionError(what +
                                         ": it is the sandbox container, which has no programs; exec into another "
                                         "container of the pod");
  }
  if (execs_.contains(options.exec_id)) return absl::AlreadyExistsError(what + ": it exists already");
  if (init_->state() == ProcessState::kStopped)
    return absl::FailedPreconditionError(what + ": the container has stopped");
  if (is_paused_) return absl::FailedPreconditionError(what + ": the container is paused");
  if (execs_.size() >= kExecsMax) return absl::ResourceExhaustedError(what + ": too many processes");
  auto process_json = MakeGuestProcess(options.process_json, options.terminal);
  if (!process_json.ok()) return Annotate(process_json.status(), what);
  auto exec = std::make_shared<Exec>();
  exec->options = std::move(options);
  exec->options.process_json = std::move(process_json->json);
  if (!process_json->unknown_fields.empty())
    log::Warn("{}: fields without effect, since they are not known here: {}", what, process_json->unknown_fields);
  exec->process = std::make_shared<GuestProcess>(executor_, connection_, options_.id, exec->options.exec_id);
  Adopt(*exec->process);
  execs_[exec->options.exec_id] = exec;
  return std::shared_ptr<Process>(exec->process);
}

Co<absl::Status> GuestContainer::StartExec(std::string exec_id) {
  auto self = shared_from_this();
  auto found = Find(exec_id);
  if (!found.ok()) co_return found.status();
  std::shared_ptr<Exec> exec = *found;
  const std::string what = absl::StrCat("starting process \"", exec_id, "\" in container \"", options_.id, "\"");
  if (exec->is_starting || exec->process->state() != ProcessState::kCreated) {
    co_return absl::FailedPreconditionError(what + ": it was started already");
  }
  if (is_paused_ || is_freezing_) co_return absl::FailedPreconditionError(what + ": the container is paused");
  if (init_->state() != ProcessState::kRunning) {
    exec->process->SetStoppedNow(kFailedStartStatus);
    co_return absl::FailedPreconditionError(what + ": the container is not running");
  }
  agent::v1::ExecRequest request;
  request.set_container_id(options_.id);
  request.set_exec_id(exec_id);
  request.set_process_json(exec->options.process_json);
  request.set_has_stdin(exec->options.stdio.has_stdin);
  request.set_has_stdout(exec->options.stdio.has_stdout);
  request.set_has_stderr(exec->options.stdio.has_stderr);
  request.set_terminal_width(exec->size.width);
  request.set_terminal_height(exec->size.height);
  exec->is_starting = true;
  const TerminalSize sent = exec->size;
  absl::Status started = co_await ExecInGuest(connection_, std::move(request), kAgentCallTimeout);
  exec->is_starting = false;
  if (!started.ok()) {
    exec->process->SetStoppedNow(kFailedStartStatus);
    co_return Annotate(WithMachinesEnd(started, *connection_), what);
  }
  exec->is_in_guest = true;
  exec->process->SetRunning();
  exec->process->Watch();
  if (exec->size == sent) co_return absl::OkStatus();
  // It was resized while the guest had the earlier size on its way.
  absl::Status resized = co_await ResizeTerminal(exec_id, exec->size.width, exec->size.height);
  if (!resized.ok()) log::Debug("resizing a terminal after the start: {}", resized.message());
  co_return absl::OkStatus();
}

Co<absl::Status> GuestContainer::Kill(std::string exec_id, uint32_t signal, bool all) {
  auto self = shared_from_this();
  std::shared_ptr<GuestProcess> process = init_;
  if (!exec_id.empty()) {
    auto found = Find(exec_id);
    if (!found.ok()) co_return found.status();
    process = (*found)->process;
    if (process->state() == ProcessState::kCreated) {
      co_return absl::FailedPreconditionError(absl::StrCat("killing process \"", exec_id, "\": it is not started"));
    }
  }
  if (process->state() == ProcessState::kStopped) co_return absl::NotFoundError("process already finished");
  agent::v1::SignalRequest request;
  request.set_container_id(options_.id);
  request.set_exec_id(exec_id);
  request.set_signal(signal);
  request.set_all(all);
  // What the guest answers does not count then: the init is gone soon, or the machine is.
  const bool must_end = exec_id.empty() && signal == SIGKILL;
  if (must_end && !std::exchange(is_end_watched_, true)) Spawn(executor_, "ending a container", EnsureEnd(self));
  agent::v1::AgentClient client(connection_);
  auto response = co_await client.SignalProcess(std::move(request), kSignalTimeout);
  // Unavailable: the machine is going, and the process with it.
  if (absl::IsNotFound(response.status()) || absl::IsUnavailable(response.status()))
    co_return absl::NotFoundError("process already finished");
  if (must_end && absl::IsDeadlineExceeded(response.status())) {
    EndMachine("the guest does not answer");
    co_return absl::OkStatus();
  }
  const std::string what = absl::StrCat("sending signal ", signal, " to a process of container \"", options_.id, "\"");
  co_return Annotate(response.status(), what);
}

// The sandbox ends a machine whose connection has closed.
void GuestContainer::EndMachine(absl::string_view reason) {
  log::Warn("ending the machine to end container \"{}\": {}", options_.id, std::string(reason));
  connection_->Close(absl::UnavailableError(reason));
}

// The guest keeps what does not end, and removes it when it does. For the host the container has ended: its caller
// can delete it, and others of the pod do not pay for it.
void GuestContainer::GiveUp() {
  log::Warn(
      "giving up container \"{}\": its init does not end of SIGKILL; it counts as ended, and its processes stay in the "
      "machine until they end there",
      options_.id);
  StopAll(kVmDiedStatus);
}

Co<absl::Status> GuestContainer::EnsureEnd(std::shared_ptr<GuestContainer> self) {
  const bool is_ended = co_await self->init_->WaitExitFor(self->options_.kill_effect_timeout);
  if (is_ended) co_return absl::OkStatus();
  const bool has_neighbours = self->has_neighbours_ && self->has_neighbours_();
  if (has_neighbours) {
    self->GiveUp();
  } else {
    self->EndMachine("its init does not end of SIGKILL");
  }
  co_return absl::OkStatus();
}

Co<absl::Status> GuestContainer::ResizeTerminal(std::string exec_id, uint32_t width, uint32_t height) {
  auto self = shared_from_this();
  if (!exec_id.empty()) {
    auto found = Find(exec_id);
    if (!found.ok()) co_return found.status();
    (*found)->size = TerminalSize{width, height};
    if (!(*found)->is_in_guest && (*found)->process->state() == ProcessState::kCreated) co_return absl::OkStatus();
  }
  agent::v1::ResizeRequest request;
  request.set_container_id(options_.id);
  request.set_exec_id(exec_id);
  request.set_width(width);
  request.set_height(height);
  agent::v1::AgentClient client(connection_);
  auto response = co_await client.ResizeTerminal(std::move(request), kAgentCallTimeout);
  co_return response.status();
}

Co<absl::Status> GuestContainer::DeleteExec(std::string exec_id) {
  auto self = shared_from_this();
  auto found = Find(exec_id);
  if (!found.ok()) co_return found.status();
  std::shared_ptr<Exec> exec = *found;
  if (exec->process->state() == ProcessState::kRunning) {
    co_return absl::FailedPreconditionError(absl::StrCat("deleting process \"", exec_id, "\": it is running"));
  }
  exec->process->SetStoppedNow(kNeverStartedStatus);
  if (exec->is_in_guest) {
    agent::v1::AgentClient client(connection_);
    agent::v1::ProcessId request = IdOf(options_.id, exec_id);
    auto response = co_await client.RemoveProcess(std::move(request), kSignalTimeout);
    // A guest that is gone has forgotten it as well.
    if (!response.ok() && !absl::IsNotFound(response.status()) && !absl::IsUnavailable(response.status())) {
      co_return response.status();
    }
  }
  execs_.erase(exec_id);
  co_return absl::OkStatus();
}

void GuestContainer::StopAll(uint32_t status) {
  init_->SetStoppedNow(status);
  for (auto& [id, exec] : execs_) exec->process->SetStoppedNow(status);
}

}  // namespace kata::virtcontainers
