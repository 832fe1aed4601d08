// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/late_calls.h"

#include <signal.h>

#include <utility>

#include "proto/base/log.h"
#include "virtcontainers/container/guest_container.h"

namespace kata::virtcontainers {
namespace {

Co<absl::Status> Make(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request) {
  agent::v1::AgentClient client(connection);
  auto response = co_await client.CreateContainer(std::move(request), kLateAnswerTimeout);
  co_return response.status();
}

Co<absl::Status> Make(std::shared_ptr<ttrpc::Connection> connection, agent::v1::ExecRequest request) {
  agent::v1::AgentClient client(connection);
  auto response = co_await client.Exec(std::move(request), kLateAnswerTimeout);
  co_return response.status();
}

Co<absl::Status> Remove(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request) {
  log::Warn("removing container \"{}\" in the guest, which has made it too late", request.container_id());
  agent::v1::AgentClient client(connection);
  agent::v1::ProcessId id;
  id.set_container_id(request.container_id());
  auto removed = co_await client.RemoveContainer(std::move(id), kLateAnswerTimeout);
  co_return removed.status();
}

Co<absl::Status> Remove(std::shared_ptr<ttrpc::Connection> connection, agent::v1::ExecRequest request) {
  log::Warn("ending process \"{}\" of container \"{}\": the guest has started it too late", request.exec_id(),
            request.container_id());
  agent::v1::AgentClient client(connection);
  agent::v1::SignalRequest kill;
  kill.set_container_id(request.container_id());
  kill.set_exec_id(request.exec_id());
  kill.set_signal(SIGKILL);
  auto killed = co_await client.SignalProcess(std::move(kill), kSignalTimeout);
  if (!killed.ok() && !absl::IsNotFound(killed.status())) co_return killed.status();
  agent::v1::ProcessId id;
  id.set_container_id(request.container_id());
  id.set_exec_id(request.exec_id());
  agent::v1::ProcessId ended = id;
  auto waited = co_await client.WaitProcess(std::move(ended), kLateAnswerTimeout);
  if (!waited.ok()) co_return waited.status();
  auto removed = co_await client.RemoveProcess(std::move(id), kSignalTimeout);
  co_return removed.status();
}

template <typename Request>
Co<absl::Status> MakeOrRemove(std::shared_ptr<ttrpc::Connection> connection, Request request,
                              std::shared_ptr<Outcome> made) {
  Request what;
  what.set_container_id(request.container_id());
  if constexpr (requires { what.set_exec_id(""); }) what.set_exec_id(request.exec_id());
  made->status = co_await Make(connection, std::move(request));
  made->known.Set();
  if (!made->is_given_up) co_return absl::OkStatus();
  absl::Status ended = made->status;
  if (ended.ok()) ended = co_await Remove(connection, std::move(what));
  // The sandbox ends a machine whose connection has closed.
  if (absl::IsDeadlineExceeded(ended)) connection->Close(absl::UnavailableError("the guest does not answer"));
  co_return absl::OkStatus();
}

template <typename Request>
Co<absl::Status> MakeFor(std::shared_ptr<ttrpc::Connection> connection, Request request,
                         std::chrono::nanoseconds timeout) {
  auto executor = co_await asio::this_coro::executor;
  auto made = std::make_shared<Outcome>(executor);
  Spawn(executor, "making something in the guest",
        MakeOrRemove<Request>(std::move(connection), std::move(request), made));
  co_await made->known.WaitFor(timeout);
  if (made->known.is_set()) co_return made->status;
  made->is_given_up = true;
  co_return absl::DeadlineExceededError("the guest does not answer");
}

}  // namespace

Co<absl::Status> CreateInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request,
                               std::chrono::nanoseconds timeout) {
  return MakeFor(std::move(connection), std::move(request), timeout);
}

Co<absl::Status> ExecInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::ExecRequest request,
                             std::chrono::nanoseconds timeout) {
  return MakeFor(std::move(connection), std::move(request), timeout);
}

}  // namespace kata::virtcontainers
