// SPDX-License-Identifier: Apache-2.0
// The sandbox on a machine, for the files that define it: vm_sandbox.cc its life, vm_sandbox_containers.cc its
// containers. Others use vm_sandbox.h.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hypervisors/hypervisor.h"
#include "proto/base/coro.h"
#include "virtcontainers/agent_client/vsock_daemon.h"
#include "virtcontainers/container/container_mounts.h"
#include "virtcontainers/container/guest_container.h"
#include "virtcontainers/devices/disk_ways.h"
#include "virtcontainers/devices/sandbox_devices.h"
#include "virtcontainers/mirrors/mirrors.h"
#include "virtcontainers/sandbox/sandbox_cgroup.h"
#include "virtcontainers/sandbox/sandbox_network.h"
#include "virtcontainers/sandbox/sandbox_share.h"
#include "virtcontainers/sandbox/sandbox_size.h"
#include "virtcontainers/sandbox/vm_sandbox.h"
#include "virtcontainers/sockets/socket_relay.h"

namespace kata::virtcontainers {

class VmSandbox final : public Sandbox, public std::enable_shared_from_this<VmSandbox> {
 public:
  VmSandbox(asio::any_io_executor executor, asio::thread_pool& pool, SandboxOptions options,
            std::shared_ptr<hypervisors::Hypervisor> hypervisor)
      : executor_(executor),
        pool_(pool),
        options_(std::move(options)),
        hypervisor_(std::move(hypervisor)),
        share_(std::make_shared<SandboxShare>(executor, pool, options_.id)),
        network_(std::make_shared<SandboxNetwork>(executor, pool, hypervisor_)),
        sockets_(std::make_shared<SocketRelay>(executor, pool)),
        mirrors_(std::make_shared<Mirrors>(executor, pool)),
        cgroup_(std::make_shared<SandboxCgroup>(SandboxCgroupOptions{.sandbox_id = options_.id,
                                                                     .path = options_.cgroup_path,
                                                                     .is_only = options_.config.sandbox_cgroup_only,
                                                                     .moves_shim = !options_.is_shim_placed})),
        size_(std::make_shared<SandboxSize>(executor, hypervisor_, options_.config, options_.size, ReadHostSize())),
        devices_(std::make_shared<SandboxDevices>(executor, hypervisor_, DiskWaysOf(options_.config))),
        share_ready_(executor),
        settled_(executor),
        stopped_(executor) {}

  Co<absl::Status> Start() override;

  Co<absl::StatusOr<std::shared_ptr<Container>>> CreateContainer(ContainerOptions options) override;

  Co<absl::Status> DeleteContainer(std::string id) override;

  std::shared_ptr<Container> FindContainer(const std::string& id) const override;
  size_t ContainerCount() const override { return containers_.size(); }
  pid_t VmPid() const override { return hypervisor_->Pid(); }

  Co<absl::Status> Stop() override;

  Co<void> WaitStopped() override;

  Co<absl::StatusOr<agent::v1::StatsContainerResponse>> Stats() override;

  std::map<std::string, std::string> Facts() const override;
  std::string ConsoleTail(size_t size_max) const override;

 private:
  enum class State { kNew, kBooting, kRunning, kStopping, kStopped };

  struct Entry {
    std::shared_ptr<GuestContainer> container;
    ContainerMounts host;
  };

  Co<absl::Status> Boot();

  Co<absl::Status> ChooseTemplate(std::shared_ptr<hypervisors::VmSpec> spec);

  // Of an agent that has answered: a clone's guest is made its own. `saved_state`: the template that was chosen.
  Co<absl::Status> TakeOver(std::string saved_state);

  // It did not serve; empty: none was chosen.
  void ForgetTemplate(const std::string& saved_state);

  // Of a machine that has ended by the host's hand; empty where nothing is known.
  Co<std::string> ReasonOfEnd();

  absl::Status CheckPodNamespaces() const;

  // The runtime directory, the pod's cgroup with the shim in it, and the agent's channel.
  Co<absl::Status> PrepareHost(std::shared_ptr<hypervisors::VmSpec> spec);

  std::vector<pid_t> DaemonPids() const;

  Co<absl::Status> SetUpGuest(std::chrono::steady_clock::time_point hello_answered_at);

  Co<absl::Status> HoldPod();

  Co<absl::StatusOr<std::shared_ptr<GuestContainer>>> MakeContainer(std::shared_ptr<ContainerMounts> host);

  void TakeGrown(hypervisors::MachineSize now);

  Co<void> RaiseScore(int score);

  // Plugs in what `host` has opened.
  // Of its image, where this guest can put them together.
  Co<void> FindLayers(std::shared_ptr<ContainerMounts> host);
  Co<absl::Status> AttachDisks(std::shared_ptr<ContainerMounts> host);

  // Has the guest remove container `id`, and takes its disks out once it has.
  Co<void> RemoveWithDisks(std::string id);

  // What the guest has not written yet of the disks of its containers would be lost with the machine: the containers
  // that have some are removed in the guest first.
  Co<void> LetGoOfDisks();

  // Its processes, its mounts. Idempotent.
  Co<absl::Status> RemoveInGuest(std::string id, std::chrono::nanoseconds timeout);

  Co<absl::Status> RunCreateHooks(std::shared_ptr<ContainerMounts> host);

  // And all of its processes count as ended.
  Co<void> RemoveContainer(std::shared_ptr<GuestContainer> container, bool has_disks);

  // Whether ending the machine would end more than container `id`; one being made counts.
  bool OthersLive(const std::string& id) const;

  // Containers of this sandbox are known on the host by the machine's process.
  absl::Status CheckProcessNamespaces(const std::vector<GuestSpec::ProcessNamespace>& names) const;

  absl::Status CheckFeatures(const ContainerMounts& host) const;

  void ServeSockets(const ContainerMounts& host);

  static absl::Status AgentTooOld();

  absl::Status NotRunning() const;

  // The machine may end at any time: every process of it ends with it.
  static Co<absl::Status> WatchMachine(std::shared_ptr<VmSandbox> self);

  // A connection that ends leaves no way to reach the machine's processes: the machine ends with
  // it.
  static Co<absl::Status> WatchConnection(std::shared_ptr<VmSandbox> self);

  // As a sandbox container's end is: without it no container can be made that shares anything.
  static Co<absl::Status> WatchHolder(std::shared_ptr<VmSandbox> self);

  // Without it every access to a file in the guest waits for ever, so the machine ends with it.
  static Co<absl::Status> WatchVirtiofsd(std::shared_ptr<VmSandbox> self);

  void WakeRelease();

  // One at a time: a failed start and Stop() may both ask for it.
  Co<absl::Status> Release();

  Co<absl::Status> ReleaseAll();

  asio::any_io_executor executor_;
  asio::thread_pool& pool_;
  SandboxOptions options_;
  State state_ = State::kNew;
  absl::Status start_status_;
  std::shared_ptr<hypervisors::Hypervisor> hypervisor_;
  const std::shared_ptr<SandboxShare> share_;
  const std::shared_ptr<SandboxNetwork> network_;
  const std::shared_ptr<SocketRelay> sockets_;
  const std::shared_ptr<Mirrors> mirrors_;
  const std::shared_ptr<SandboxCgroup> cgroup_;
  const std::shared_ptr<SandboxSize> size_;
  const std::shared_ptr<SandboxDevices> devices_;
  bool is_virtiofsd_lost_ = false;
  const std::shared_ptr<VsockDaemon> vsock_daemon_ = std::make_shared<VsockDaemon>();
  std::shared_ptr<ttrpc::Connection> connection_;
  std::set<std::string> features_;  // of the agent
  std::string guest_kernel_;
  std::map<std::string, Entry> containers_;
  std::set<std::string> creating_;
  Latch share_ready_;  // or the start has failed
  Latch settled_;      // the start has ended, well or not
  Latch stopped_;      // the machine has ended, or there will be none
  std::shared_ptr<Latch> releasing_;
  std::shared_ptr<Latch> creators_gone_;
};

}  // namespace kata::virtcontainers
