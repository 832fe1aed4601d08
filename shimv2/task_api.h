// SPDX-License-Identifier: Apache-2.0
// containerd's Task API over a Sandbox: the records of tasks and execs, their stdio, and the order of events
// (docs/shim-contract.md section 6). Io thread only; State, Connect, Pids and Wait answer from memory and never block.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proto/base/coro.h"
#include "proto/schema/task_messages.pb.h"
#include "proto/ttrpc/connection.h"
#include "shimv2/event_publisher.h"

namespace kata::shimv2 {

// Waits of Delete: output still on its way to a client that reads, then it is given up (as the stock shim does).
inline constexpr std::chrono::seconds kDrainTimeout{2};
// A created container that is deleted is killed first; how long its end may take.
inline constexpr std::chrono::seconds kKillTimeout{10};

struct TaskApiOptions {
  std::string name_space;
  std::string socket_path;  // where this shim listens
  wire::Any start_options;  // given with `start`; those of Create win
};

class TaskApi {
 public:
  static std::shared_ptr<TaskApi> Make(asio::any_io_executor executor, asio::thread_pool& pool,
                                       std::shared_ptr<EventPublisher> events, TaskApiOptions options);
  virtual ~TaskApi() = default;

  template <typename T>
  using Answer = Co<absl::StatusOr<T>>;
  virtual Answer<containerd::task::StateResponse> State(containerd::task::StateRequest request) = 0;
  virtual Answer<containerd::task::CreateTaskResponse> Create(containerd::task::CreateTaskRequest request) = 0;
  virtual Answer<containerd::task::StartResponse> Start(containerd::task::StartRequest request) = 0;
  virtual Answer<containerd::task::DeleteResponse> Delete(containerd::task::DeleteRequest request) = 0;
  virtual Answer<containerd::task::PidsResponse> Pids(containerd::task::PidsRequest request) = 0;
  virtual Answer<wire::Empty> Pause(containerd::task::PauseRequest request) = 0;
  virtual Answer<wire::Empty> Resume(containerd::task::ResumeRequest request) = 0;
  virtual Answer<wire::Empty> Checkpoint(containerd::task::CheckpointTaskRequest request) = 0;
  virtual Answer<wire::Empty> Kill(containerd::task::KillRequest request) = 0;
  virtual Answer<wire::Empty> Exec(containerd::task::ExecProcessRequest request) = 0;
  virtual Answer<wire::Empty> ResizePty(containerd::task::ResizePtyRequest request) = 0;
  virtual Answer<wire::Empty> CloseIO(containerd::task::CloseIORequest request) = 0;
  virtual Answer<wire::Empty> Update(containerd::task::UpdateTaskRequest request) = 0;
  virtual Answer<containerd::task::WaitResponse> Wait(containerd::task::WaitRequest request) = 0;
  virtual Answer<containerd::task::StatsResponse> Stats(containerd::task::StatsRequest request) = 0;
  virtual Answer<containerd::task::ConnectResponse> Connect(containerd::task::ConnectRequest request) = 0;
  virtual Answer<wire::Empty> Shutdown(containerd::task::ShutdownRequest request) = 0;

  // A task whose bundle is gone was forgotten by its caller and does not count; one that is being created does.
  virtual bool HasTasks() const = 0;
  // Each container's state, a line each, for the log.
  virtual std::vector<std::string> Describe() const = 0;
  // Returns once Shutdown was called with no container left, or RequestShutDown.
  virtual Co<void> WaitShutDown() = 0;
  virtual void RequestShutDown() = 0;
  // Ends the sandbox with all that is in it. Idempotent.
  virtual Co<void> StopSandbox() = 0;
};

}  // namespace kata::shimv2
