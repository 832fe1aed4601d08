// SPDX-License-Identifier: Apache-2.0
// A sandbox: one VM, its shared file system, the agent in it and the pod's containers. Created by the first container
// of a pod, stopped when the VM stops for any reason. Io thread only; never blocks it; state is answered from memory.
// States: new → booting → running → stopped (final, also after a failed boot).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/base/coro.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/rootfs_mounts.h"

namespace kata::agent::v1 {
class AgentClient;
class StatsContainerResponse;
class StdioMessage;
}  // namespace kata::agent::v1
namespace kata::ttrpc {
template <typename In, typename Out>
class MessageStream;
}

namespace kata::virtcontainers {

using StdioStream = ttrpc::MessageStream<agent::v1::StdioMessage, agent::v1::StdioMessage>;

// A process that waits for a stuck file server ends late, if at all.
inline constexpr std::chrono::seconds kKillEffectTimeout{20};

struct ExitStatus {
  uint32_t status = 0;  // 0-255; 128+signal; 137 when the VM died, or when SIGKILL had no effect
  int64_t exited_at_ns = 0;
};

enum class ProcessState { kCreated, kRunning, kStopped };

// The init process of a container (id empty) or an exec.
class Process {
 public:
  virtual ~Process() = default;
  virtual const std::string& id() const = 0;
  virtual ProcessState state() const = 0;
  virtual const std::optional<ExitStatus>& exit() const = 0;
  // Any number of waiters; released also when the VM dies or the container is deleted.
  virtual Co<ExitStatus> WaitExit() = 0;
  // The process's standard streams; once, after the agent has made the process (init: created; exec: started).
  virtual Co<absl::StatusOr<std::shared_ptr<StdioStream>>> OpenStdio() = 0;
};

struct StdioFlags {
  bool has_stdin = false;
  bool has_stdout = false;
  bool has_stderr = false;
};

struct ContainerOptions {
  std::string id;
  std::string bundle;  // absolute; config.json is read from it
  std::vector<RootfsMount> rootfs;  // empty: root.path of config.json is used as it stands
  bool terminal = false;            // overrides process.terminal of config.json
  StdioFlags stdio;
  // How long an init may take to end of SIGKILL; a test's is shorter.
  std::chrono::nanoseconds kill_effect_timeout = kKillEffectTimeout;
};

struct ExecOptions {
  std::string exec_id;
  std::string process_json;  // OCI process object
  bool terminal = false;
  StdioFlags stdio;
};

class Container {
 public:
  virtual ~Container() = default;
  virtual const std::string& id() const = 0;
  virtual std::shared_ptr<Process> init() const = 0;
  // Null when unknown.
  virtual std::shared_ptr<Process> FindExec(const std::string& exec_id) const = 0;
  virtual std::vector<std::string> ExecIds() const = 0;

  // created → running.
  virtual Co<absl::Status> Start() = 0;
  // running → paused → running; FailedPrecondition from elsewhere. Only the container's processes stop: an exec's
  // start is refused meanwhile, a SIGKILL takes effect.
  virtual Co<absl::Status> Pause() = 0;
  virtual Co<absl::Status> Resume() = 0;
  virtual bool is_paused() const = 0;
  // `resources_json`: the OCI `linux.resources` object. FailedPrecondition when stopped.
  virtual Co<absl::Status> Update(std::string resources_json) = 0;
  // NotFound when stopped. Sizes and counts come from the guest: fit to be shown, not to be trusted.
  virtual Co<absl::StatusOr<agent::v1::StatsContainerResponse>> Stats() = 0;
  // `handler` runs each time the kernel has killed processes of the container for want of memory, and before the exit
  // of a process that was killed so is known. One handler.
  virtual void OnOom(std::function<void()> handler) = 0;
  // Registers only (ProcessState kCreated). AlreadyExists; FailedPrecondition when init has stopped.
  virtual absl::StatusOr<std::shared_ptr<Process>> AddExec(ExecOptions options) = 0;
  // A failed start leaves the exec stopped with status 255, deletable.
  virtual Co<absl::Status> StartExec(std::string exec_id) = 0;
  // exec_id empty = init. NotFound "process already finished" when stopped; FailedPrecondition for an unstarted exec.
  virtual Co<absl::Status> Kill(std::string exec_id, uint32_t signal, bool all) = 0;
  // Before the process exists in the guest the size is remembered.
  virtual Co<absl::Status> ResizeTerminal(std::string exec_id, uint32_t width, uint32_t height) = 0;
  // FailedPrecondition while running.
  virtual Co<absl::Status> DeleteExec(std::string exec_id) = 0;
};

struct SandboxOptions {
  std::string id;
  Config config;
  std::string netns_path;  // empty: a new network namespace is made for the machine
  std::string hostname;    // of the first container's spec
};

class Sandbox {
 public:
  // `pool` runs blocking mounts and file work. Both outlive the sandbox.
  static std::shared_ptr<Sandbox> Make(asio::any_io_executor executor, asio::thread_pool& pool,
                                       SandboxOptions options);
  virtual ~Sandbox() = default;

  // Starts virtiofsd and the VM, connects to the agent, makes the sandbox in the guest. On failure everything made is
  // undone; a boot that hangs ends at dial_timeout with the console's last lines in the error.
  virtual Co<absl::Status> Start() = 0;
  // Mounts rootfs and volumes into the share and makes the container in the guest. Undoes everything on failure.
  // May be called while Start() is under way: the host's part overlaps the boot.
  virtual Co<absl::StatusOr<std::shared_ptr<Container>>> CreateContainer(ContainerOptions options) = 0;
  // FailedPrecondition while its init runs. Removes guest state (short timeout when the guest does not answer),
  // mounts and execs.
  virtual Co<absl::Status> DeleteContainer(std::string id) = 0;
  virtual std::shared_ptr<Container> FindContainer(const std::string& id) const = 0;
  virtual size_t ContainerCount() const = 0;
  // Machine's host pid, 0 when there is none.
  virtual pid_t VmPid() const = 0;
  // Kills the VM and virtiofsd, ends the mount namespace and removes all of the sandbox on the host. Idempotent; every Process that
  // still runs ends with status 137.
  virtual Co<absl::Status> Stop() = 0;
};

// Directories of a sandbox, as in the documents: /run/kata-containers/<id> and /run/kata-containers/shared/<id>.
std::string RuntimeDirectory(const std::string& sandbox_id);
std::string SharedDirectory(const std::string& sandbox_id);

// For the shim's `delete` action after its daemon was killed: removes machine, virtiofsd, and both directories. Blocking, idempotent, at most `timeout`.
absl::Status CleanUpSandbox(const std::string& sandbox_id, std::chrono::milliseconds timeout);

}  // namespace kata::virtcontainers
