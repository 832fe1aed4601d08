// SPDX-License-Identifier: Apache-2.0
// One container: its cgroup, its init process and its execs. States: creating, created, running,
// stopped (init has exited), removing; a running one may be paused. Io thread only; coroutines keep
// the container alive by shared_ptr.
#pragma once

#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/cgroup/cgroup.h"
#include "agent/cgroup/freezer.h"
#include "agent/cgroup/oom_watch.h"
#include "agent/oci/spec.h"
#include "agent/process/exit_table.h"
#include "agent/process/launcher.h"
#include "agent/stdio/process_io.h"

namespace kata::agent {

// Exec processes of one container that are not yet removed.
inline constexpr size_t kExecsMax = 4096;
// A share whose server is stuck holds up a mount or an execve for ever. Below the host's own limit
// of a call, so that the host hears the reason.
inline constexpr std::chrono::seconds kSetUpTimeout{25};

struct Process {
  explicit Process(asio::any_io_executor executor)
      : io(std::make_shared<ProcessIo>(executor)), exited(std::move(executor)) {}
  pid_t pid = -1;
  UniqueFd pidfd;
  UniqueFd first_pidfd;  // of an exec: the process that sets this one up
  std::unique_ptr<ControlChannel> control;
  std::shared_ptr<ProcessIo> io;
  bool is_init = false;
  int exit_status = 0;
  int64_t exited_at_ns = 0;
  uint64_t oom_kills = 0;  // of the container, when this process ended
  // Being set up until the program runs, or init waits for its start; overdue when that took longer
  // than kSetUpTimeout.
  bool is_setting_up = false;
  bool is_ready = false;  // it waits to become the program, or is it
  bool is_overdue = false;
  Latch exited;
};

// Kills a process that is being set up, with all there is of it.
void KillSetUp(const Process& process);

struct StdioWanted {
  bool has_stdin = false;
  bool has_stdout = false;
  bool has_stderr = false;
};

// Namespaces of the sandbox, which its containers may join: those of its first container, or the guest's own.
struct SharedNamespaces {
  UniqueFd pid, ipc, uts, user, time;
  IdMappings uid_mappings, gid_mappings;
  static absl::StatusOr<SharedNamespaces> OfGuest();
  absl::StatusOr<SharedNamespaces> Copy() const;
};

class Container : public std::enable_shared_from_this<Container> {
 public:
  struct Collaborators {
    ExitTable* exits = nullptr;
    FileWatcher* watcher = nullptr;
    std::string parent_cgroup;
    std::string set_up_cgroup;  // outside of the container's limits
    std::chrono::milliseconds set_up_timeout = kSetUpTimeout;
  };
  Container(asio::any_io_executor executor, Collaborators collaborators, std::string id);

  // Until the init process waits for Start. On failure nothing is left behind.
  Co<absl::Status> Create(ContainerSpec spec, StdioWanted wanted, const SharedNamespaces* shared);
  Co<absl::Status> Start();
  Co<absl::StatusOr<pid_t>> Exec(std::string exec_id, ProcessSpec spec, StdioWanted wanted);
  // Init for an empty id; null when unknown or not yet made.
  std::shared_ptr<Process> Find(const std::string& exec_id) const;
  Co<absl::Status> Signal(std::string exec_id, int number, bool all);
  absl::Status RemoveExec(const std::string& exec_id);
  Co<absl::StatusOr<std::vector<pid_t>>> Pids();
  // FailedPrecondition unless it is running (paused). A pause lets processes that are being set up
  // finish that first.
  Co<absl::Status> Pause();
  Co<absl::Status> Resume();
  absl::Status Update(const Resources& resources);
  // After the bounds of all containers have changed.
  absl::Status Rebound();
  const std::string& id() const { return id_; }
  // Its cgroup's directory; empty before it was made.
  std::string CgroupPath() const { return cgroup_ ? cgroup_->path() : std::string(); }
  // Null before the cgroup was made.
  std::shared_ptr<OomWatch> oom() const { return oom_; }
  // Kills all that is left, ends what is being set up, waits for it, removes the cgroup. May be
  // called again after an error, and by several at once.
  Co<absl::Status> Remove();
  // Whether its processes have a pid namespace of their own and are there.
  bool HasOwnPids() const;
  // Descriptors of the init process's namespaces.
  absl::StatusOr<SharedNamespaces> OpenNamespaces() const;

 private:
  enum class Freezer { kThawed, kFreezing, kFrozen, kThawing };
  class SetUp;

  absl::Status RequireRunning(absl::string_view doing) const;
  absl::Status JoinUserNamespace(const SharedNamespaces& shared, LaunchOptions& options);
  Co<absl::Status> CreateInit(StdioWanted wanted, const SharedNamespaces* shared);
  Co<absl::Status> LaunchInto(std::shared_ptr<Process> process, LaunchOptions options, StdioWanted wanted);
  // `limits` are set on the process when it is ready.
  // `more`: time for what is not the agent's own.
  Co<absl::Status> AwaitReady(std::shared_ptr<Process> process, const ProcessSpec* limits,
                              std::chrono::milliseconds more = std::chrono::milliseconds(0));
  Co<absl::Status> ReceiveReady(std::shared_ptr<Process> process, const ProcessSpec* limits);
  absl::Status EndedEarly(const Process& process) const;
  void Adopt(std::shared_ptr<Process> process, pid_t pid, UniqueFd pidfd);
  absl::Status KeepFilter(int file);
  Co<bool> SetUpsEnd(std::chrono::nanoseconds timeout);
  Co<absl::Status> RemoveOnce();
  Co<absl::Status> RemoveCgroup();
  void KillSetUps();
  void Exited(Process& process, int exit_status);
  std::string ExecCgroup() const;

  asio::any_io_executor executor_;
  Collaborators collaborators_;
  std::string id_;
  ContainerSpec spec_;
  std::optional<Cgroup> cgroup_;
  std::optional<SeccompProgram> filter_;  // compiled by init
  std::shared_ptr<OomWatch> oom_;
  std::shared_ptr<Process> init_;
  std::map<std::string, std::shared_ptr<Process>> execs_;
  bool is_started_ = false;
  // Its removal was asked for: nothing new begins.
  bool is_doomed_ = false;
  std::shared_ptr<Latch> removal_;  // of the removal under way
  Freezer freezer_ = Freezer::kThawed;
  // Calls that have a child process in set-up.
  int setups_ = 0;
  std::shared_ptr<Latch> setups_ended_;
};

}  // namespace kata::agent
