// SPDX-License-Identifier: Apache-2.0
// One container: its cgroup, its init process and its execs. States: creating, created, running,
// stopped (init has exited), removing. Io thread only; coroutines keep the container alive by
// shared_ptr.
#pragma once

#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/cgroup.h"
#include "agent/exit_table.h"
#include "agent/launcher.h"
#include "agent/process_io.h"
#include "agent/spec.h"

namespace kata::agent {

// Exec processes of one container that are not yet removed.
inline constexpr size_t kExecsMax = 4096;

struct Process {
  explicit Process(asio::any_io_executor executor)
      : io(std::make_shared<ProcessIo>(executor)), exited(std::move(executor)) {}
  pid_t pid = -1;
  UniqueFd pidfd;
  std::unique_ptr<ControlChannel> control;
  std::shared_ptr<ProcessIo> io;
  bool is_init = false;
  int exit_status = 0;
  int64_t exited_at_ns = 0;
  bool oom_killed = false;
  Event exited;
};

struct StdioWanted {
  bool has_stdin = false;
  bool has_stdout = false;
  bool has_stderr = false;
};

// Namespaces of the sandbox's first container, which others may join.
struct SharedNamespaces {
  UniqueFd pid, ipc, uts;
};

class Container : public std::enable_shared_from_this<Container> {
 public:
  Container(asio::any_io_executor executor, ExitTable* exits, std::string id);

  // Until the init process waits for Start. On failure nothing is left behind.
  Co<absl::Status> Create(ContainerSpec spec, StdioWanted wanted, const SharedNamespaces* shared);
  Co<absl::Status> Start();
  Co<absl::StatusOr<pid_t>> Exec(std::string exec_id, ProcessSpec spec, StdioWanted wanted);
  // Init for an empty id; null when unknown or not yet made.
  std::shared_ptr<Process> Find(const std::string& exec_id) const;
  absl::Status Signal(const std::string& exec_id, int number, bool all);
  absl::Status RemoveExec(const std::string& exec_id);
  absl::StatusOr<std::vector<pid_t>> Pids() const;
  // Kills all that is left, waits for it, removes the cgroup.
  Co<absl::Status> Remove();
  // Descriptors of the init process's namespaces.
  absl::StatusOr<SharedNamespaces> OpenNamespaces() const;

 private:
  Co<absl::Status> LaunchInto(std::shared_ptr<Process> process, LaunchOptions options,
                              StdioWanted wanted);
  Co<absl::Status> AwaitReady(std::shared_ptr<Process> process, bool until_executed);
  Co<absl::Status> RemoveCgroup();
  void Exited(Process& process, int exit_status);
  UniqueFd ExecCgroup() const;

  asio::any_io_executor executor_;
  ExitTable* exits_;
  std::string id_;
  ContainerSpec spec_;
  std::optional<Cgroup> cgroup_;
  std::shared_ptr<Process> init_;
  std::map<std::string, std::shared_ptr<Process>> execs_;
  bool is_started_ = false;
};

}  // namespace kata::agent
