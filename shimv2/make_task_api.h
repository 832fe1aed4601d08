// SPDX-License-Identifier: Apache-2.0
// TaskApi::Make with the sandboxes given by the caller: the seam that tests put a fake one into.
#pragma once

#include <functional>
#include <memory>

#include "shimv2/task_api.h"
#include "virtcontainers/sandbox.h"

namespace kata::shimv2 {

using SandboxMaker = std::function<std::shared_ptr<virtcontainers::Sandbox>(virtcontainers::SandboxOptions)>;

std::shared_ptr<TaskApi> MakeTaskApiOn(asio::any_io_executor executor, asio::thread_pool& pool,
                                       std::shared_ptr<EventPublisher> events, TaskApiOptions options,
                                       SandboxMaker make_sandbox);

}  // namespace kata::shimv2
