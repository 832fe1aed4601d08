// SPDX-License-Identifier: Apache-2.0
// Binds one generated Task service, version 2 or 3, to the one TaskApi behind both.
#pragma once

#include <memory>
#include <utility>

#include "shimv2/task_api.h"

namespace kata::shimv2 {

template <typename Base>
class TaskService final : public Base {
 public:
  explicit TaskService(std::shared_ptr<TaskApi> api) : api_(std::move(api)) {}

#define KATA_TASK_METHOD(name, Request, Response)                                                    \
  Co<absl::StatusOr<Response>> name(ttrpc::CallContext, containerd::task::Request request) override { \
    return api_->name(std::move(request));                                                           \
  }
  KATA_TASK_METHOD(State, StateRequest, containerd::task::StateResponse)
  KATA_TASK_METHOD(Create, CreateTaskRequest, containerd::task::CreateTaskResponse)
  KATA_TASK_METHOD(Start, StartRequest, containerd::task::StartResponse)
  KATA_TASK_METHOD(Delete, DeleteRequest, containerd::task::DeleteResponse)
  KATA_TASK_METHOD(Pids, PidsRequest, containerd::task::PidsResponse)
  KATA_TASK_METHOD(Pause, PauseRequest, wire::Empty)
  KATA_TASK_METHOD(Resume, ResumeRequest, wire::Empty)
  KATA_TASK_METHOD(Checkpoint, CheckpointTaskRequest, wire::Empty)
  KATA_TASK_METHOD(Kill, KillRequest, wire::Empty)
  KATA_TASK_METHOD(Exec, ExecProcessRequest, wire::Empty)
  KATA_TASK_METHOD(ResizePty, ResizePtyRequest, wire::Empty)
  KATA_TASK_METHOD(CloseIO, CloseIORequest, wire::Empty)
  KATA_TASK_METHOD(Update, UpdateTaskRequest, wire::Empty)
  KATA_TASK_METHOD(Wait, WaitRequest, containerd::task::WaitResponse)
  KATA_TASK_METHOD(Stats, StatsRequest, containerd::task::StatsResponse)
  KATA_TASK_METHOD(Connect, ConnectRequest, containerd::task::ConnectResponse)
  KATA_TASK_METHOD(Shutdown, ShutdownRequest, wire::Empty)
#undef KATA_TASK_METHOD

 private:
  std::shared_ptr<TaskApi> api_;
};

}  // namespace kata::shimv2
