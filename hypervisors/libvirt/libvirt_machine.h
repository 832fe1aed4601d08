// SPDX-License-Identifier: Apache-2.0
// The machine behind MakeLibvirtHypervisor. State is touched on the io thread only; libvirt is called on a small pool
// that all machines of the process share. libvirt keeps its first root, so a process can start one machine only.
// Coroutines hold the machine, so its owner may go at any time. libvirt_machine_devices.cc has what is plugged in.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "hypervisors/console.h"
#include "hypervisors/hypervisor.h"
#include "hypervisors/libvirt/child_reaper.h"
#include "hypervisors/libvirt/device_slots.h"
#include "hypervisors/libvirt/domain_xml.h"
#include "hypervisors/libvirt/libvirt_session.h"

namespace kata::hypervisors {

// libvirt's calls run here. It lives as long as the process: a machine may end on any thread.
asio::thread_pool& MachinePool();

class LibvirtMachine : public std::enable_shared_from_this<LibvirtMachine> {
 public:
  explicit LibvirtMachine(asio::any_io_executor executor);

  Co<absl::Status> Start(VmSpec spec, int netns);
  Co<absl::StatusOr<std::unique_ptr<ttrpc::Transport>>> ConnectAgent(std::chrono::milliseconds timeout);
  Accelerator accelerator() const { return accelerator_; }
  pid_t pid() const { return state_ == State::kRunning || state_ == State::kPaused ? pid_ : 0; }
  Co<absl::Status> Attach(Device device);
  Co<absl::Status> Detach(std::string id);
  Co<absl::StatusOr<MachineSize>> Resize(MachineSize size);
  Co<absl::Status> Save(std::string directory);
  bool is_clone() const { return spec_ != nullptr && !spec_->saved_state.empty(); }
  Co<absl::Status> Pause();
  Co<absl::Status> Resume();
  Co<absl::Status> Stop();
  Co<StopReason> WaitStopped();
  std::string ConsoleTail(size_t size_max) const { return console_->Tail(size_max); }
  // The owner went away: a machine that still runs is killed.
  void Abandon();

 private:
  enum class State { kDefined, kStarting, kRunning, kPaused, kStopped };
  struct Job;  // what the pool makes of a spec

  static absl::Status FindProcess(Job& job, const MachinePaths& paths);
  static absl::Status GoOn(Job& job, const MachinePaths& paths);
  static absl::Status Begin(Job& job, const MachinePaths& paths, int netns);
  Co<absl::Status> StartOnPool(std::shared_ptr<Job> job, int netns);
  static Co<absl::Status> EndSlowStart(std::shared_ptr<LibvirtMachine> self);
  Co<absl::Status> FinishStopped();
  Co<absl::StatusOr<UniqueFd>> ConnectVsockPort(std::chrono::milliseconds timeout);
  Co<absl::Status> AttachInSlot(Device device, DeviceSlot slot);
  Co<absl::Status> MakeScsiController(bool is_mine);
  void WatchProcess(UniqueFd pidfd);
  void OnProcessEnd();
  void OnEvent(DomainEvent event);
  void Kill();
  absl::Status RequireState(State state, absl::string_view action) const;

  asio::any_io_executor executor_;
  std::shared_ptr<ChildReaper> reaper_;
  std::shared_ptr<Console> console_;
  std::shared_ptr<LibvirtSession> session_;
  std::unique_ptr<MachinePaths> paths_;
  asio::posix::stream_descriptor pidfd_;
  Latch started_;  // Start is over, well or not
  Latch process_ended_;
  Latch domain_stopped_;  // libvirt has noticed
  Latch stopped_;
  Latch cleaned_;  // nothing is left on the host
  State state_ = State::kDefined;
  StopReason reason_ = StopReason::kFailed;
  bool is_kill_sent_ = false;
  // Read by the pool: a start that failed is not to be tried anew.
  const std::shared_ptr<std::atomic<bool>> is_given_up_ = std::make_shared<std::atomic<bool>>(false);
  bool is_late_ = false;
  bool is_cleaning_ = false;
  pid_t pid_ = 0;
  Accelerator accelerator_ = Accelerator::kAuto;
  std::shared_ptr<const VmSpec> spec_;
  MachineSize size_;                       // that it runs with
  bool has_memory_device_ = false;         // it has grown once
  std::shared_ptr<const UniqueFd> netns_;  // in which it was started
  std::optional<DeviceSlots> slots_;       // once it runs
  std::shared_ptr<Outcome> scsi_controller_;
  uint32_t vsock_cid_ = 0;  // of the host kernel's vsock
  std::string domain_;
  absl::Status clean_status_;
};

}  // namespace kata::hypervisors
