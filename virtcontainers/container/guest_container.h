// SPDX-License-Identifier: Apache-2.0
// The one Container of this library: its processes and the calls to the agent about them. Io thread
// only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "virtcontainers/container.h"
#include "virtcontainers/container/guest_process.h"

namespace kata::virtcontainers {

// Execs of one container that are known at once.
inline constexpr size_t kExecsMax = 1024;
// Calls that the agent answers at once; a guest that takes longer does not answer at all.
inline constexpr std::chrono::seconds kAgentCallTimeout{30};
// For the answer to a call that nobody waits for any more, which may have made something. A guest that never gives it
// is not kept: each such call would stay as long as its machine.
inline constexpr std::chrono::minutes kLateAnswerTimeout{5};
// Signals are taken at once as well. A guest that does not take SIGKILL for an init is ended with its machine.
inline constexpr std::chrono::seconds kSignalTimeout{10};
// Between an answer of the guest about OOM kills and the next question.
inline constexpr std::chrono::seconds kOomPause{1};

class GuestContainer final : public Container, public std::enable_shared_from_this<GuestContainer> {
 public:
  GuestContainer(asio::any_io_executor executor, std::shared_ptr<ttrpc::Connection> connection,
                 ContainerOptions options);

  const std::string& id() const override { return options_.id; }
  std::shared_ptr<Process> init() const override { return init_; }
  std::shared_ptr<Process> FindExec(const std::string& exec_id) const override;
  std::vector<std::string> ExecIds() const override;
  Co<absl::Status> Start() override;
  Co<absl::Status> Pause() override;
  Co<absl::Status> Resume() override;
  bool is_paused() const override { return is_paused_; }
  Co<absl::Status> Update(std::string resources_json) override;
  Co<absl::StatusOr<agent::v1::StatsContainerResponse>> Stats() override;
  void OnOom(std::function<void()> handler) override { oom_handler_ = std::move(handler); }
  absl::StatusOr<std::shared_ptr<Process>> AddExec(ExecOptions options) override;
  Co<absl::Status> StartExec(std::string exec_id) override;
  Co<absl::Status> Kill(std::string exec_id, uint32_t signal, bool all) override;
  Co<absl::Status> ResizeTerminal(std::string exec_id, uint32_t width, uint32_t height) override;
  Co<absl::Status> DeleteExec(std::string exec_id) override;

  const ContainerOptions& options() const { return options_; }
  std::shared_ptr<GuestProcess> guest_init() const { return init_; }
  // Whether other containers live in the machine, asked when it may have to be ended. Without it there are none.
  void OnNeighboursAsked(std::function<bool()> handler) { has_neighbours_ = std::move(handler); }
  // Runs before its init does; a failure is the start's, which may be tried again.
  void OnStart(std::function<Co<absl::Status>()> handler) { start_handler_ = std::move(handler); }
  // Runs around an update: it gets the new resources and what makes them the container's.
  using UpdateHandler =
      std::function<Co<absl::Status>(std::string resources_json, std::function<Co<absl::Status>()> apply)>;
  void OnUpdate(UpdateHandler handler) { update_handler_ = std::move(handler); }
  // Hooks in the guest take their time before its init runs.
  void AllowForStart(std::chrono::nanoseconds more) { start_timeout_ = kAgentCallTimeout + more; }
  // Runs once its init does; on failure the init is killed, and the start fails.
  void OnStarted(std::function<Co<absl::Status>()> handler) { started_handler_ = std::move(handler); }
  // The agent has made the container: from now on its end and its OOM kills are waited for.
  void Watch();
  // Every process that has not stopped stops with `status`.
  void StopAll(uint32_t status);

 private:
  struct TerminalSize {
    uint32_t width = 0;
    uint32_t height = 0;
    bool operator==(const TerminalSize&) const = default;
  };
  struct Exec {
    ExecOptions options;
    std::shared_ptr<GuestProcess> process;
    bool is_starting = false;
    bool is_in_guest = false;
    TerminalSize size;  // remembered until the process exists
  };
  absl::StatusOr<std::shared_ptr<Exec>> Find(const std::string& exec_id) const;
  void Adopt(GuestProcess& process);
  Co<absl::Status> UpdateInGuest(std::string resources_json);
  Co<absl::Status> SetPaused(bool is_paused);
  static Co<absl::Status> SetPausedInGuest(std::shared_ptr<GuestContainer> self, bool is_paused,
                                           std::shared_ptr<Outcome> outcome);
  void CountOomKills(uint64_t kills);
  void EndMachine(absl::string_view reason);
  // An init that does not end of SIGKILL waits in the guest's kernel for what does not come. Its machine is ended when
  // nothing else lives there; else the container alone is given up.
  void GiveUp();
  static Co<absl::Status> EnsureEnd(std::shared_ptr<GuestContainer> self);
  static Co<absl::Status> WatchOom(std::shared_ptr<GuestContainer> self);

  asio::any_io_executor executor_;
  std::shared_ptr<ttrpc::Connection> connection_;
  ContainerOptions options_;
  std::shared_ptr<GuestProcess> init_;
  std::chrono::nanoseconds start_timeout_ = kAgentCallTimeout;
  std::function<Co<absl::Status>()> start_handler_;
  std::function<Co<absl::Status>()> started_handler_;
  UpdateHandler update_handler_;
  std::map<std::string, std::shared_ptr<Exec>> execs_;
  bool is_paused_ = false;
  bool is_freezing_ = false;  // a pause or resume is under way
  bool is_end_watched_ = false;
  uint64_t oom_kills_ = 0;  // known so far
  std::function<void()> oom_handler_;
  std::function<bool()> has_neighbours_;
};

}  // namespace kata::virtcontainers
