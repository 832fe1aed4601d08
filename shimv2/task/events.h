// SPDX-License-Identifier: Apache-2.0
// The events of tasks, composed from their records (docs/shim-contract.md section 7). Io thread only; never waits.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "proto/schema/task_messages.pb.h"
#include "shimv2/task/event_publisher.h"
#include "shimv2/task/records.h"

namespace kata::shimv2 {

class TaskEvents {
 public:
  explicit TaskEvents(std::shared_ptr<EventPublisher> publisher) : publisher_(std::move(publisher)) {}

  void Created(const containerd::task::CreateTaskRequest& request, const TaskRecord& task);
  void ExecAdded(const ProcessRecord& record);
  void Started(const TaskRecord& task, const ProcessRecord& record);  // init or exec
  void Paused(const std::string& container_id);
  void Resumed(const std::string& container_id);
  void OutOfMemory(const std::string& container_id);
  void Exited(const TaskRecord& task, const ProcessRecord& record);
  void Deleted(const TaskRecord& task);

 private:
  std::shared_ptr<EventPublisher> publisher_;
};

}  // namespace kata::shimv2
