// SPDX-License-Identifier: Apache-2.0
#include "shimv2/task/events.h"

#include "proto/schema/events.pb.h"

namespace kata::shimv2 {

namespace events = containerd::events;

void TaskEvents::Created(const containerd::task::CreateTaskRequest& request, const TaskRecord& task) {
  events::TaskCreate event;
  event.set_container_id(task.id);
  event.set_bundle(task.bundle);
  *event.mutable_rootfs() = request.rootfs();
  event.mutable_io()->set_stdin(request.stdin());
  event.mutable_io()->set_stdout(request.stdout());
  event.mutable_io()->set_stderr(request.stderr());
  event.mutable_io()->set_terminal(request.terminal());
  event.set_pid(static_cast<uint32_t>(task.pid));
  publisher_->Publish("/tasks/create", "containerd.events.TaskCreate", event.SerializeAsString());
}

void TaskEvents::ExecAdded(const ProcessRecord& record) {
  events::TaskExecAdded event;
  event.set_container_id(record.container_id);
  event.set_exec_id(record.exec_id);
  publisher_->Publish("/tasks/exec-added", "containerd.events.TaskExecAdded", event.SerializeAsString());
}

void TaskEvents::Started(const TaskRecord& task, const ProcessRecord& record) {
  if (record.exec_id.empty()) {
    events::TaskStart event;
    event.set_container_id(task.id);
    event.set_pid(static_cast<uint32_t>(task.pid));
    publisher_->Publish("/tasks/start", "containerd.events.TaskStart", event.SerializeAsString());
    return;
  }
  events::TaskExecStarted event;
  event.set_container_id(task.id);
  event.set_exec_id(record.exec_id);
  event.set_pid(static_cast<uint32_t>(task.pid));
  publisher_->Publish("/tasks/exec-started", "containerd.events.TaskExecStarted", event.SerializeAsString());
}

void TaskEvents::Paused(const std::string& container_id) {
  events::TaskPaused event;
  event.set_container_id(container_id);
  publisher_->Publish("/tasks/paused", "containerd.events.TaskPaused", event.SerializeAsString());
}

void TaskEvents::Resumed(const std::string& container_id) {
  events::TaskResumed event;
  event.set_container_id(container_id);
  publisher_->Publish("/tasks/resumed", "containerd.events.TaskResumed", event.SerializeAsString());
}

void TaskEvents::OutOfMemory(const std::string& container_id) {
  events::TaskOOM event;
  event.set_container_id(container_id);
  publisher_->Publish("/tasks/oom", "containerd.events.TaskOOM", event.SerializeAsString());
}

void TaskEvents::Exited(const TaskRecord& task, const ProcessRecord& record) {
  events::TaskExit event;
  event.set_container_id(task.id);
  event.set_id(record.name());
  event.set_pid(static_cast<uint32_t>(task.pid));
  FillExit(*record.process, event);
  publisher_->Publish("/tasks/exit", "containerd.events.TaskExit", event.SerializeAsString());
}

void TaskEvents::Deleted(const TaskRecord& task) {
  events::TaskDelete event;
  event.set_container_id(task.id);
  event.set_pid(static_cast<uint32_t>(task.pid));
  FillExit(*task.init->process, event);
  publisher_->Publish("/tasks/delete", "containerd.events.TaskDelete", event.SerializeAsString());
}

}  // namespace kata::shimv2
