// SPDX-License-Identifier: Apache-2.0
// containerd's Sandbox service: the one sandbox of this shim, as its caller makes, watches and ends it
// (docs/shim-contract.md section 9). It is the keeper of the PodSandbox, whose containers come through the Task
// service. Its parts: lifecycle.cc (Create, Start, Stop, Wait, Shutdown), answers.cc (what is told of the sandbox). A
// sandbox that was not made here, with CreateSandbox, is not known: NotFound. Io thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proto/schema/sandbox.ttrpc.h"
#include "shimv2/pod/pod_sandbox.h"

namespace kata::shimv2 {

// Exit statuses of a sandbox: it was stopped; its machine ended by itself; it never ran.
inline constexpr uint32_t kStoppedStatus = 0;
inline constexpr uint32_t kEndedStatus = 137;
inline constexpr uint32_t kNotStartedStatus = 255;

struct SandboxServiceOptions {
  std::string sandbox_id;           // that the shim was started for
  std::function<void()> shut_down;  // ends the shim
  std::string host_etc = "/etc";
};

class SandboxService final : public containerd::runtime::sandbox::v1::SandboxService,
                             public std::enable_shared_from_this<SandboxService> {
 public:
  template <typename T>
  using Reply = Co<absl::StatusOr<T>>;
  using SandboxId = containerd::runtime::sandbox::v1::SandboxId;

  SandboxService(asio::any_io_executor executor, asio::thread_pool& pool, std::shared_ptr<PodSandbox> pod,
                 SandboxServiceOptions options);

  // AlreadyExists a second time, and for a shim that has containers without it; NotFound for another id than the
  // shim's.
  Reply<wire::Empty> CreateSandbox(ttrpc::CallContext context,
                                   containerd::runtime::sandbox::v1::CreateSandboxRequest request) override;
  // Answers when the guest is ready. Again for a sandbox that runs: the same answer. FailedPrecondition when it has
  // ended or was stopped.
  Reply<containerd::runtime::sandbox::v1::StartSandboxResponse> StartSandbox(ttrpc::CallContext context,
                                                                             SandboxId request) override;
  Reply<containerd::runtime::sandbox::v1::PlatformResponse> Platform(ttrpc::CallContext context,
                                                                     SandboxId request) override;
  // Ends all that runs in it. Any number of times; DeadlineExceeded when it is not done in time_out_secs (0: no limit),
  // and goes on.
  Reply<wire::Empty> StopSandbox(ttrpc::CallContext context,
                                 containerd::runtime::sandbox::v1::StopSandboxRequest request) override;
  Reply<containerd::runtime::sandbox::v1::WaitSandboxResponse> WaitSandbox(ttrpc::CallContext context,
                                                                           SandboxId request) override;
  Reply<containerd::runtime::sandbox::v1::SandboxStatusResponse> SandboxStatus(
      ttrpc::CallContext context, containerd::runtime::sandbox::v1::SandboxStatusRequest request) override;
  // OK while the sandbox runs, else FailedPrecondition.
  Reply<wire::Empty> PingSandbox(ttrpc::CallContext context, SandboxId request) override;
  // Stops the sandbox and then ends the shim, also one whose CreateSandbox has failed.
  Reply<wire::Empty> ShutdownSandbox(ttrpc::CallContext context, SandboxId request) override;
  Reply<containerd::runtime::sandbox::v1::SandboxMetricsResponse> SandboxMetrics(ttrpc::CallContext context,
                                                                                 SandboxId request) override;

 private:
  enum class State { kNone, kCreating, kCreated, kStarting, kReady, kStopping, kStopped };

  // NotFound for another id, and before CreateSandbox.
  absl::Status Find(const std::string& id) const;
  bool IsOver() const { return state_ == State::kStopping || state_ == State::kStopped; }
  Co<absl::Status> Describe(containerd::runtime::sandbox::v1::CreateSandboxRequest request);
  // The first call begins the stop; each gives what tells of its end.
  std::shared_ptr<Latch> BeginStop();
  void End(uint32_t exit_status);
  static Co<absl::Status> Stop(std::shared_ptr<SandboxService> self, std::shared_ptr<Latch> stopped);
  static Co<absl::Status> WatchEnd(std::shared_ptr<SandboxService> self,
                                   std::shared_ptr<virtcontainers::Sandbox> sandbox);

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  std::shared_ptr<PodSandbox> pod_;
  SandboxServiceOptions options_;
  State state_ = State::kNone;
  PodDescription description_;
  int64_t created_at_ns_ = 0;
  int64_t exited_at_ns_ = 0;
  uint32_t exit_status_ = 0;
  Latch exited_;
  std::shared_ptr<Latch> stopped_;  // of the stop, once there is one
};

}  // namespace kata::shimv2
