// SPDX-License-Identifier: Apache-2.0
// A process in a container, as its callers see it. Io thread only; never blocks it. States: created → running →
// stopped, or created → stopped.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "proto/base/coro.h"

namespace kata::agent::v1 {
class StdioMessage;
}
namespace kata::ttrpc {
template <typename In, typename Out>
class MessageStream;
}

namespace kata::virtcontainers {

using StdioStream = ttrpc::MessageStream<agent::v1::StdioMessage, agent::v1::StdioMessage>;

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

}  // namespace kata::virtcontainers
