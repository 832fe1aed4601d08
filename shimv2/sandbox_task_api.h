// SPDX-License-Identifier: Apache-2.0
// The one TaskApi of this library: tasks over the containers of one Sandbox. Its parts: task_lifecycle.cc (Create,
// Delete, the sandbox), task_processes.cc (Start, Exec and all that concerns one process), task_stdio.cc,
// task_resources.cc (freezer, limits, statistics, OOM), task_state.cc (answers from memory). Io thread only.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "shimv2/bundle.h"
#include "shimv2/make_task_api.h"
#include "shimv2/task_events.h"
#include "shimv2/task_records.h"

namespace kata::shimv2 {

class SandboxTaskApi final : public TaskApi, public std::enable_shared_from_this<SandboxTaskApi> {
 public:
  SandboxTaskApi(asio::any_io_executor executor, asio::thread_pool& pool, std::shared_ptr<EventPublisher> publisher,
                 TaskApiOptions options, SandboxMaker make_sandbox);

  Answer<containerd::task::StateResponse> State(containerd::task::StateRequest request) override;
  Answer<containerd::task::CreateTaskResponse> Create(containerd::task::CreateTaskRequest request) override;
  Answer<containerd::task::StartResponse> Start(containerd::task::StartRequest request) override;
  Answer<containerd::task::DeleteResponse> Delete(containerd::task::DeleteRequest request) override;
  Answer<containerd::task::PidsResponse> Pids(containerd::task::PidsRequest request) override;
  Answer<wire::Empty> Pause(containerd::task::PauseRequest request) override;
  Answer<wire::Empty> Resume(containerd::task::ResumeRequest request) override;
  Answer<wire::Empty> Checkpoint(containerd::task::CheckpointTaskRequest request) override;
  Answer<wire::Empty> Kill(containerd::task::KillRequest request) override;
  Answer<wire::Empty> Exec(containerd::task::ExecProcessRequest request) override;
  Answer<wire::Empty> ResizePty(containerd::task::ResizePtyRequest request) override;
  Answer<wire::Empty> CloseIO(containerd::task::CloseIORequest request) override;
  Answer<wire::Empty> Update(containerd::task::UpdateTaskRequest request) override;
  Answer<containerd::task::WaitResponse> Wait(containerd::task::WaitRequest request) override;
  Answer<containerd::task::StatsResponse> Stats(containerd::task::StatsRequest request) override;
  Answer<containerd::task::ConnectResponse> Connect(containerd::task::ConnectRequest request) override;
  Answer<wire::Empty> Shutdown(containerd::task::ShutdownRequest request) override;
  bool HasTasks() const override;
  std::vector<std::string> Describe() const override;
  Co<void> WaitShutDown() override;
  void RequestShutDown() override { shut_down_.Set(); }
  Co<void> StopSandbox() override;

 private:
  // NotFound when unknown; a container that is being created is unknown.
  absl::StatusOr<Task> Find(const std::string& id) const;
  bool IsBeingCreated(const std::string& id) const;
  // Whether all that is left was abandoned.
  bool IsAbandoned() const { return abandoned_.size() == tasks_.size(); }
  static absl::StatusOr<Record> FindProcess(const Task& entry, const std::string& exec_id);

  Co<absl::StatusOr<Task>> CreateTask(containerd::task::CreateTaskRequest request);
  Co<absl::StatusOr<Task>> FillTask(containerd::task::CreateTaskRequest request, Record init, StdioFiles files);
  Co<void> RemoveFailed(std::shared_ptr<virtcontainers::Sandbox> sandbox, std::string id);
  Co<void> Abandon(Task entry);
  absl::Status MakeSandbox(const containerd::task::CreateTaskRequest& request, const BundleInfo& info);
  Co<absl::Status> DeleteTask(Task entry);
  Co<absl::Status> RemoveTask(Task entry);
  Co<absl::Status> DeleteExec(Task entry, Record record);

  Co<absl::Status> OpenExecStdio(Record record, std::shared_ptr<StdioFiles> files);
  Co<absl::Status> StartExec(Task entry, Record record);
  static Co<absl::Status> WatchExit(std::shared_ptr<SandboxTaskApi> self, Task entry, Record record);
  static Co<void> WaitForExecExits(Task entry);

  // Starts the logger that stdout names, if it does, and puts its pipes into `files`.
  Co<absl::Status> StartLogger(Record record, std::shared_ptr<StdioFiles> files);
  Co<absl::Status> AttachStdio(Record record, StdioFiles files);
  Co<void> StopLoggers(std::vector<Record> records);

  void WatchOom(const Task& entry);

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  TaskEvents events_;
  TaskApiOptions options_;
  SandboxMaker make_sandbox_;
  std::shared_ptr<virtcontainers::Sandbox> sandbox_;
  std::shared_ptr<Event> sandbox_stopped_;  // of the stop under way
  std::map<std::string, Task> tasks_;  // null while being created
  std::set<std::string> abandoned_;    // deleted while being created: their callers have given up
  bool is_shut_down_wanted_ = false;   // once those have ended
  Event shut_down_;
};

}  // namespace kata::shimv2
