// SPDX-License-Identifier: Apache-2.0
#include "shimv2/task/task_service.h"

#include <utility>

namespace kata::shimv2 {

TaskService::TaskService(asio::any_io_executor executor, asio::thread_pool& pool,
                         std::shared_ptr<EventPublisher> publisher, std::shared_ptr<PodSandbox> pod,
                         std::string name_space)
    : executor_(executor),
      pool_(pool),
      events_(std::move(publisher)),
      pod_(std::move(pod)),
      name_space_(std::move(name_space)),
      shut_down_(executor) {}

}  // namespace kata::shimv2
