// SPDX-License-Identifier: Apache-2.0
#include "shimv2/management/execs.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "virtcontainers/json/members.h"

namespace kata::shimv2 {
namespace {

namespace task = containerd::task;
using Json = nlohmann::json;
using virtcontainers::MemberOf;
using virtcontainers::TextOf;

constexpr char kProcessType[] = "types.containerd.io/opencontainers/runtime-spec/1/Process";

constexpr uint32_t kEndedWithContainer = 137;

absl::StatusOr<task::ExecProcessRequest> RequestOf(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !MemberOf(json, "process").is_object())
    return absl::InvalidArgumentError("running a program: a JSON object with \"container\" and \"process\" is needed");
  task::ExecProcessRequest request;
  request.set_id(TextOf(json, "container"));
  request.set_stdin(TextOf(json, "stdin"));
  request.set_stdout(TextOf(json, "stdout"));
  request.set_stderr(TextOf(json, "stderr"));
  const Json& terminal = MemberOf(json, "terminal");
  request.set_terminal(terminal.is_boolean() && terminal.get<bool>());
  request.mutable_spec()->set_type_url(kProcessType);
  request.mutable_spec()->set_value(MemberOf(json, "process").dump());
  return request;
}

}  // namespace

absl::StatusOr<std::shared_ptr<ManagementExecs::Exec>> ManagementExecs::Find(const std::string& exec_id) const {
  const auto at = execs_.find(exec_id);
  if (at == execs_.end())
    return absl::NotFoundError(absl::StrCat("there is no exec \"", exec_id, "\" of kata-ctl here"));
  return at->second;
}

Co<absl::StatusOr<std::string>> ManagementExecs::Start(std::string request) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(task::ExecProcessRequest parsed, RequestOf(request));
  if (execs_.size() >= kManagementExecsMax)
    co_return absl::ResourceExhaustedError(absl::StrCat("more than ", kManagementExecsMax, " programs at once"));
  std::string exec_id = absl::StrCat("kata-ctl-", ++last_);
  parsed.set_exec_id(exec_id);
  auto exec = std::make_shared<Exec>(executor_);
  exec->container_id = parsed.id();
  execs_[exec_id] = exec;
  absl::Status status = co_await Run(exec_id, std::move(parsed));
  if (!status.ok()) {
    execs_.erase(exec_id);
    co_return status;
  }
  Spawn(executor_, "watching a program of kata-ctl", Watch(self, exec_id, exec));
  co_return exec_id;
}

Co<absl::Status> ManagementExecs::Run(std::string exec_id, task::ExecProcessRequest request) {
  ttrpc::CallContext context;
  task::StartRequest start;
  start.set_id(request.id());
  start.set_exec_id(exec_id);
  auto added = co_await tasks_->Exec(context, request);
  if (!added.ok()) co_return added.status();
  auto started = co_await tasks_->Start(context, start);
  if (started.ok()) co_return absl::OkStatus();
  task::DeleteRequest remove;
  remove.set_id(request.id());
  remove.set_exec_id(exec_id);
  auto removed = co_await tasks_->Delete(context, remove);
  if (!removed.ok()) log::Debug("removing exec \"{}\": {}", exec_id, removed.status().message());
  co_return started.status();
}

Co<absl::Status> ManagementExecs::Watch(std::shared_ptr<ManagementExecs> self, std::string exec_id,
                                        std::shared_ptr<Exec> exec) {
  ttrpc::CallContext context;
  task::WaitRequest wait;
  wait.set_id(exec->container_id);
  wait.set_exec_id(exec_id);
  auto ended = co_await self->tasks_->Wait(context, wait);
  exec->status = ended.ok() ? ended->exit_status() : kEndedWithContainer;
  task::DeleteRequest remove;
  remove.set_id(exec->container_id);
  remove.set_exec_id(exec_id);
  auto removed = co_await self->tasks_->Delete(context, remove);
  // With its container, perhaps.
  if (!removed.ok()) log::Debug("removing exec \"{}\": {}", exec_id, removed.status().message());
  exec->over.Set();
  co_await Sleep(kExecKept);
  self->execs_.erase(exec_id);
  co_return absl::OkStatus();
}

Co<absl::StatusOr<std::optional<uint32_t>>> ManagementExecs::Wait(std::string exec_id) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(std::shared_ptr<Exec> exec, Find(exec_id));
  co_await exec->over.WaitFor(kExecWaitPatience);
  std::optional<uint32_t> status;
  if (!exec->over.is_set()) co_return status;
  status = exec->status;
  execs_.erase(exec_id);
  co_return status;
}

template <typename Request>
absl::StatusOr<Request> ManagementExecs::RequestFor(const std::string& exec_id) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<Exec> exec, Find(exec_id));
  Request request;
  request.set_id(exec->container_id);
  request.set_exec_id(exec_id);
  return request;
}

Co<absl::Status> ManagementExecs::Resize(std::string exec_id, uint32_t width, uint32_t height) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(task::ResizePtyRequest request, RequestFor<task::ResizePtyRequest>(exec_id));
  request.set_width(width);
  request.set_height(height);
  ttrpc::CallContext context;
  auto done = co_await tasks_->ResizePty(context, request);
  co_return done.status();
}

Co<absl::Status> ManagementExecs::CloseStdin(std::string exec_id) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(task::CloseIORequest request, RequestFor<task::CloseIORequest>(exec_id));
  request.set_stdin(true);
  ttrpc::CallContext context;
  auto done = co_await tasks_->CloseIO(context, request);
  co_return done.status();
}

Co<absl::Status> ManagementExecs::Kill(std::string exec_id, uint32_t signal) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(task::KillRequest request, RequestFor<task::KillRequest>(exec_id));
  request.set_signal(signal);
  ttrpc::CallContext context;
  auto done = co_await tasks_->Kill(context, request);
  co_return done.status();
}

}  // namespace kata::shimv2
