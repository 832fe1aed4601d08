// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/container/guest_create.h"

#include <utility>

#include "proto/base/log.h"
#include "virtcontainers/container/guest_container.h"

namespace kata::virtcontainers {
namespace {

Co<absl::Status> RemoveLate(std::shared_ptr<ttrpc::Connection> connection, std::string id) {
  log::Warn("removing container \"{}\" in the guest, which has made it too late", id);
  agent::v1::AgentClient client(connection);
  agent::v1::ProcessId request;
  request.set_container_id(std::move(id));
  auto removed = co_await client.RemoveContainer(std::move(request), kLateAnswerTimeout);
  co_return removed.status();
}

Co<absl::Status> CallCreate(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request,
                            std::shared_ptr<Outcome> made) {
  const std::string id = request.container_id();
  agent::v1::AgentClient client(connection);
  auto response = co_await client.CreateContainer(std::move(request), kLateAnswerTimeout);
  made->status = response.status();
  made->known.Set();
  if (!made->is_given_up) co_return absl::OkStatus();
  absl::Status ended = response.status();
  if (response.ok()) ended = co_await RemoveLate(connection, id);
  // The sandbox ends a machine whose connection has closed.
  if (absl::IsDeadlineExceeded(ended)) connection->Close(absl::UnavailableError("the guest does not answer"));
  co_return absl::OkStatus();
}

}  // namespace

Co<absl::Status> CreateInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request,
                               std::chrono::nanoseconds timeout) {
  auto executor = co_await asio::this_coro::executor;
  auto made = std::make_shared<Outcome>(executor);
  Spawn(executor, "making a container", CallCreate(std::move(connection), std::move(request), made));
  co_await made->known.WaitFor(timeout);
  if (made->known.is_set()) co_return made->status;
  made->is_given_up = true;
  co_return absl::DeadlineExceededError("the guest does not answer");
}

}  // namespace kata::virtcontainers
