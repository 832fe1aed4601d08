// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/exec_start.h"

#include <signal.h>

#include <utility>

#include "proto/base/log.h"
#include "virtcontainers/container/guest_container.h"

namespace kata::virtcontainers {
namespace {

Co<absl::Status> EndLateExec(std::shared_ptr<ttrpc::Connection> connection, agent::v1::ProcessId id) {
  log::Warn("ending process \"{}\" of container \"{}\": the guest has started it too late", id.exec_id(),
            id.container_id());
  agent::v1::AgentClient client(connection);
  agent::v1::SignalRequest kill;
  kill.set_container_id(id.container_id());
  kill.set_exec_id(id.exec_id());
  kill.set_signal(SIGKILL);
  auto killed = co_await client.SignalProcess(std::move(kill), kSignalTimeout);
  if (!killed.ok() && !absl::IsNotFound(killed.status())) co_return killed.status();
  agent::v1::ProcessId ended = id;
  auto waited = co_await client.WaitProcess(std::move(ended), kLateAnswerTimeout);
  if (!waited.ok()) co_return waited.status();
  auto removed = co_await client.RemoveProcess(std::move(id), kSignalTimeout);
  co_return removed.status();
}

Co<absl::Status> CallExec(std::shared_ptr<ttrpc::Connection> connection, agent::v1::ExecRequest request,
                          std::shared_ptr<Outcome> start) {
  agent::v1::ProcessId id;
  id.set_container_id(request.container_id());
  id.set_exec_id(request.exec_id());
  agent::v1::AgentClient client(connection);
  auto response = co_await client.Exec(std::move(request), kLateAnswerTimeout);
  start->status = response.status();
  start->known.Set();
  if (!start->is_given_up) co_return absl::OkStatus();
  absl::Status ended = response.status();
  if (response.ok()) ended = co_await EndLateExec(connection, std::move(id));
  // The sandbox ends a machine whose connection has closed.
  if (absl::IsDeadlineExceeded(ended)) connection->Close(absl::UnavailableError("the guest does not answer"));
  co_return absl::OkStatus();
}

}  // namespace

Co<absl::Status> StartInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::ExecRequest request) {
  auto executor = co_await asio::this_coro::executor;
  auto start = std::make_shared<Outcome>(executor);
  Spawn(executor, "starting a process", CallExec(std::move(connection), std::move(request), start));
  co_await start->known.WaitFor(kAgentCallTimeout);
  if (start->known.is_set()) co_return start->status;
  start->is_given_up = true;
  co_return absl::DeadlineExceededError("the guest does not answer");
}

}  // namespace kata::virtcontainers
