// SPDX-License-Identifier: Apache-2.0
// The one Process of this library. State: created → running → stopped, or created → stopped. Io
// thread only.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "proto/ttrpc/connection.h"
#include "virtcontainers/process.h"

namespace kata::virtcontainers {

inline constexpr uint32_t kVmDiedStatus = 137;

class GuestProcess final : public Process, public std::enable_shared_from_this<GuestProcess> {
 public:
  GuestProcess(asio::any_io_executor executor, std::shared_ptr<ttrpc::Connection> connection, std::string container_id,
               std::string exec_id);

  const std::string& id() const override { return exec_id_; }
  ProcessState state() const override { return state_; }
  const std::optional<ExitStatus>& exit() const override { return exit_; }
  Co<ExitStatus> WaitExit() override;
  // False when `timeout` passed first.
  Co<bool> WaitExitFor(std::chrono::nanoseconds timeout);
  Co<absl::StatusOr<std::shared_ptr<StdioStream>>> OpenStdio() override;

  // `on_oom_kills` is told, before the exit is known, how many processes of the container the kernel has killed.
  void OnOomKills(std::function<void(uint64_t)> handler) { on_oom_kills_ = std::move(handler); }
  // The agent has made the process: from now on its end is waited for.
  void Watch();
  // created → running; nothing when it has stopped already.
  void SetRunning();
  // → stopped, once; later calls do nothing.
  void SetStopped(ExitStatus exit);
  // Stopped now with `status`.
  void SetStoppedNow(uint32_t status);

 private:
  static Co<absl::Status> WatchExit(std::shared_ptr<GuestProcess> self);

  asio::any_io_executor executor_;
  std::shared_ptr<ttrpc::Connection> connection_;
  std::string container_id_;
  std::string exec_id_;
  ProcessState state_ = ProcessState::kCreated;
  std::optional<ExitStatus> exit_;
  Latch exited_;
  bool is_stdio_open_ = false;
  std::function<void(uint64_t)> on_oom_kills_;
};

}  // namespace kata::virtcontainers
