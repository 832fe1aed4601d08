// SPDX-License-Identifier: Apache-2.0
// containerd's Task service over the containers of one pod's sandbox: the records of tasks and execs, their stdio, and
// the order of events (docs/shim-contract.md section 6). Versions 2 and 3 differ in their names only: one object serves
// both. Its parts: lifecycle.cc (Create, Delete), processes.cc (Start, Exec and all that concerns one process),
// stdio.cc, resources.cc (freezer, limits, statistics, OOM), state.cc (answers from memory: State, Connect, Pids and
// Wait never block). Io thread only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proto/schema/task.ttrpc.h"
#include "shimv2/pod/bundle.h"
#include "shimv2/pod/pod_sandbox.h"
#include "shimv2/task/events.h"
#include "shimv2/task/records.h"

namespace kata::shimv2 {

// A container and its execs, for people.
struct ProcessSummary {
  std::string id;  // an exec's; empty: the init
  std::string state;
  std::optional<virtcontainers::ExitStatus> exit;
};
struct TaskSummary {
  std::string id;
  std::string bundle;
  pid_t pid = 0;
  std::vector<ProcessSummary> processes;  // the init first; none while the container is being created
};

// Waits of Delete: output still on its way to a client that reads, then it is given up (as the stock shim does).
inline constexpr std::chrono::seconds kDrainTimeout{2};
// A created container that is deleted is killed first; how long its end may take.
inline constexpr std::chrono::seconds kKillTimeout{10};

inline constexpr char kTaskServiceV3[] = "containerd.task.v3.Task";

template <typename T>
using Answer = Co<absl::StatusOr<T>>;

class TaskService final : public containerd::task::v2::TaskService, public std::enable_shared_from_this<TaskService> {
 public:
  TaskService(asio::any_io_executor executor, asio::thread_pool& pool, std::shared_ptr<EventPublisher> publisher,
              std::shared_ptr<PodSandbox> pod, std::string name_space);

  Answer<containerd::task::StateResponse> State(ttrpc::CallContext context,
                                                containerd::task::StateRequest request) override;
  Answer<containerd::task::CreateTaskResponse> Create(ttrpc::CallContext context,
                                                      containerd::task::CreateTaskRequest request) override;
  Answer<containerd::task::StartResponse> Start(ttrpc::CallContext context,
                                                containerd::task::StartRequest request) override;
  Answer<containerd::task::DeleteResponse> Delete(ttrpc::CallContext context,
                                                  containerd::task::DeleteRequest request) override;
  Answer<containerd::task::PidsResponse> Pids(ttrpc::CallContext context,
                                              containerd::task::PidsRequest request) override;
  Answer<wire::Empty> Pause(ttrpc::CallContext context, containerd::task::PauseRequest request) override;
  Answer<wire::Empty> Resume(ttrpc::CallContext context, containerd::task::ResumeRequest request) override;
  Answer<wire::Empty> Checkpoint(ttrpc::CallContext context, containerd::task::CheckpointTaskRequest request) override;
  Answer<wire::Empty> Kill(ttrpc::CallContext context, containerd::task::KillRequest request) override;
  Answer<wire::Empty> Exec(ttrpc::CallContext context, containerd::task::ExecProcessRequest request) override;
  Answer<wire::Empty> ResizePty(ttrpc::CallContext context, containerd::task::ResizePtyRequest request) override;
  Answer<wire::Empty> CloseIO(ttrpc::CallContext context, containerd::task::CloseIORequest request) override;
  Answer<wire::Empty> Update(ttrpc::CallContext context, containerd::task::UpdateTaskRequest request) override;
  Answer<containerd::task::WaitResponse> Wait(ttrpc::CallContext context,
                                              containerd::task::WaitRequest request) override;
  Answer<containerd::task::StatsResponse> Stats(ttrpc::CallContext context,
                                                containerd::task::StatsRequest request) override;
  Answer<containerd::task::ConnectResponse> Connect(ttrpc::CallContext context,
                                                    containerd::task::ConnectRequest request) override;
  Answer<wire::Empty> Shutdown(ttrpc::CallContext context, containerd::task::ShutdownRequest request) override;

  // A task whose bundle is gone was forgotten by its caller and does not count; one that is being created does.
  bool HasTasks() const;
  // The state of the pod and of each container, a line each, for the log.
  std::vector<std::string> Describe() const;
  std::vector<TaskSummary> Summaries() const;
  // Returns once Shutdown was called with no container left, or RequestShutDown.
  Co<void> WaitShutDown();
  void RequestShutDown() { shut_down_.Set(); }

 private:
  // NotFound when unknown; a container that is being created is unknown.
  absl::StatusOr<std::shared_ptr<TaskRecord>> Find(const std::string& id) const;
  bool IsBeingCreated(const std::string& id) const;
  // Whether all that is left was abandoned.
  bool IsAbandoned() const { return abandoned_.size() == tasks_.size(); }
  static absl::StatusOr<std::shared_ptr<ProcessRecord>> FindProcess(const std::shared_ptr<TaskRecord>& entry,
                                                                    const std::string& exec_id);

  Co<absl::StatusOr<std::shared_ptr<TaskRecord>>> CreateTask(containerd::task::CreateTaskRequest request);
  Co<absl::StatusOr<std::shared_ptr<TaskRecord>>> FillTask(containerd::task::CreateTaskRequest request, BundleInfo info,
                                                           std::shared_ptr<ProcessRecord> init, StdioFiles files);
  Co<void> RemoveFailed(std::shared_ptr<virtcontainers::Sandbox> sandbox, std::string id);
  Co<void> Abandon(std::shared_ptr<TaskRecord> entry);
  Co<absl::Status> DeleteTask(std::shared_ptr<TaskRecord> entry);
  Co<absl::Status> RemoveTask(std::shared_ptr<TaskRecord> entry);
  Co<absl::Status> DeleteExec(std::shared_ptr<TaskRecord> entry, std::shared_ptr<ProcessRecord> record);

  Co<absl::Status> OpenExecStdio(std::shared_ptr<ProcessRecord> record, std::shared_ptr<StdioFiles> files);
  Co<absl::Status> StartExec(std::shared_ptr<TaskRecord> entry, std::shared_ptr<ProcessRecord> record);
  // The exit as a caller may hear of it: a start under way is over, and the output is with the client.
  static Co<virtcontainers::ExitStatus> WaitExitAndOutput(std::shared_ptr<ProcessRecord> record);
  static Co<absl::Status> WatchExit(std::shared_ptr<TaskService> self, std::shared_ptr<TaskRecord> entry,
                                    std::shared_ptr<ProcessRecord> record);
  static Co<void> WaitForExecExits(std::shared_ptr<TaskRecord> entry);

  // Starts the logger that stdout names, if it does, and puts its pipes into `files`.
  Co<absl::Status> StartLogger(std::shared_ptr<ProcessRecord> record, std::shared_ptr<StdioFiles> files);
  Co<absl::Status> AttachStdio(std::shared_ptr<ProcessRecord> record, StdioFiles files);
  Co<void> StopLoggers(std::vector<std::shared_ptr<ProcessRecord>> records);

  void WatchOom(const std::shared_ptr<TaskRecord>& entry);

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  TaskEvents events_;
  std::shared_ptr<PodSandbox> pod_;
  std::string name_space_;                                    // of containerd, for loggers
  std::map<std::string, std::shared_ptr<TaskRecord>> tasks_;  // null while being created
  std::set<std::string> abandoned_;   // deleted while being created: their callers have given up
  bool is_shut_down_wanted_ = false;  // once those have ended
  Latch shut_down_;
};

}  // namespace kata::shimv2
