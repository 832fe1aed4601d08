// SPDX-License-Identifier: Apache-2.0
#include "shimv2/task_api.h"

#include <utility>

#include "shimv2/sandbox_task_api.h"

namespace kata::shimv2 {

SandboxTaskApi::SandboxTaskApi(asio::any_io_executor executor, asio::thread_pool& pool,
                               std::shared_ptr<EventPublisher> publisher, TaskApiOptions options,
                               SandboxMaker make_sandbox)
    : executor_(executor),
      pool_(pool),
      events_(std::move(publisher)),
      options_(std::move(options)),
      make_sandbox_(std::move(make_sandbox)),
      shut_down_(executor) {}

std::shared_ptr<TaskApi> MakeTaskApiOn(asio::any_io_executor executor, asio::thread_pool& pool,
                                       std::shared_ptr<EventPublisher> events, TaskApiOptions options,
                                       SandboxMaker make_sandbox) {
  return std::make_shared<SandboxTaskApi>(executor, pool, std::move(events), std::move(options),
                                          std::move(make_sandbox));
}

std::shared_ptr<TaskApi> TaskApi::Make(asio::any_io_executor executor, asio::thread_pool& pool,
                                       std::shared_ptr<EventPublisher> events, TaskApiOptions options) {
  SandboxMaker make = [executor, &pool](virtcontainers::SandboxOptions sandbox) {
    return virtcontainers::Sandbox::Make(executor, pool, std::move(sandbox));
  };
  return MakeTaskApiOn(executor, pool, std::move(events), std::move(options), std::move(make));
}

}  // namespace kata::shimv2
