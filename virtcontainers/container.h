// SPDX-License-Identifier: Apache-2.0
// A container of a sandbox, as its callers see it. Io thread only; never blocks it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proto/base/coro.h"
#include "virtcontainers/process.h"

namespace kata::agent::v1 {
class StatsContainerResponse;
}

namespace kata::virtcontainers {

// A process that waits for a stuck file server ends late, if at all.
inline constexpr std::chrono::seconds kKillEffectTimeout{20};

class OciDocument;

// One of the mounts that make a root file system, as callers give them.
struct RootfsMount {
  std::string type;
  std::string source;
  std::string target;  // below the rootfs, usually empty
  std::vector<std::string> options;
};

struct ContainerOptions {
  std::string id;
  std::string bundle;                           // absolute
  std::shared_ptr<const OciDocument> document;  // its config.json; null: it is read from there
  std::vector<RootfsMount> rootfs;              // empty: root.path of config.json is used as it stands
  bool terminal = false;                        // overrides process.terminal of config.json
  bool is_sandbox = false;                      // the agent's own process, without rootfs, mounts and execs
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

}  // namespace kata::virtcontainers
