// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/vm_sandbox_impl.h"

#include <time.h>
#include <unistd.h>

#include <set>

#include <absl/strings/match.h>

#include "hypervisors/accelerator/kernel_params.h"
#include "hypervisors/libvirt/trim_memory.h"
#include "hypervisors/vsock.h"
#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/base/timeline.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/agent_client/channel.h"
#include "virtcontainers/agent_client/rekey.h"
#include "virtcontainers/agent_client/vsock_daemon.h"
#include "virtcontainers/container/container_mounts.h"
#include "virtcontainers/container/guest_container.h"
#include "virtcontainers/container/guest_stats.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox/guest_clock.h"
#include "virtcontainers/sandbox/guest_setup.h"
#include "virtcontainers/sandbox/kept_logs.h"
#include "virtcontainers/sandbox/machine_spec.h"
#include "virtcontainers/sandbox/pod_holder.h"
#include "virtcontainers/sandbox/runtime_directory.h"
#include "virtcontainers/sandbox/sandbox_cgroup.h"
#include "virtcontainers/sandbox/sandbox_facts.h"
#include "virtcontainers/sandbox/sandbox_network.h"
#include "virtcontainers/sandbox/sandbox_share.h"
#include "virtcontainers/sandbox/sandbox_size.h"
#include "virtcontainers/sandbox/sandbox_template.h"
#include "virtcontainers/share/daemon_log.h"
#include "virtcontainers/share/shared_directory.h"

namespace kata::virtcontainers {
namespace {

constexpr char kPodFeature[] = "pod";
constexpr char kHeldPodFeature[] = "held-pod";
constexpr size_t kConsoleKept = 64u << 10;
constexpr std::chrono::seconds kVsockDaemonStopTimeout{2};
constexpr char kEmulatorsWord[] = "qemu-system-";  // in front of what it says itself

// An emulator that has said why it ends took its virtiofsd with it.
absl::Status WithLostDaemon(const absl::Status& status) {
  if (!absl::StrContains(status.message(), kEmulatorsWord)) return Annotate(status, "virtiofsd has ended");
  return absl::Status(status.code(), absl::StrCat(status.message(), "; its virtiofsd has ended as well"));
}

}  // namespace

Co<absl::Status> VmSandbox::Start() {
  auto self = shared_from_this();
  if (state_ != State::kNew) co_return absl::FailedPreconditionError("starting a sandbox: it was started before");
  state_ = State::kBooting;
  absl::Status status = co_await Boot();
  if (!status.ok() && is_virtiofsd_lost_) status = WithLostDaemon(status);
  if (!status.ok()) {
    const std::string reason = co_await ReasonOfEnd();
    if (!reason.empty()) status = Annotate(status, reason);
  }
  if (!status.ok()) status = Annotate(status, absl::StrCat("starting sandbox \"", options_.id, "\""));
  start_status_ = status;
  if (state_ == State::kBooting) state_ = status.ok() ? State::kRunning : State::kStopping;
  share_ready_.Set();
  settled_.Set();
  if (!status.ok()) {
    absl::Status cleaned = co_await Release();
    if (!cleaned.ok()) log::Warn("undoing a failed start: {}", cleaned.message());
  }
  co_return status;
}

Co<absl::Status> VmSandbox::Stop() {
  auto self = shared_from_this();
  if (state_ == State::kNew) {
    state_ = State::kStopped;
    share_ready_.Set();
    settled_.Set();
    stopped_.Set();
    co_return absl::OkStatus();
  }
  co_await LetGoOfDisks();
  const bool is_first = state_ != State::kStopping && state_ != State::kStopped;
  // A boot under way ends by itself once its machine is killed.
  if (is_first) state_ = State::kStopping;
  absl::Status status = co_await hypervisor_->Stop();
  co_await settled_.Wait();
  absl::Status released = co_await Release();
  co_return status.ok() ? released : status;
}

Co<void> VmSandbox::WaitStopped() {
  auto self = shared_from_this();
  co_await stopped_.Wait();
}

Co<absl::StatusOr<agent::v1::StatsContainerResponse>> VmSandbox::Stats() {
  auto self = shared_from_this();
  const std::string what = absl::StrCat("reading statistics of sandbox \"", options_.id, "\"");
  if (state_ != State::kRunning) co_return Annotate(NotRunning(), what);
  if (!features_.contains(kPodFeature)) co_return Annotate(AgentTooOld(), what);
  agent::v1::AgentClient client(connection_);
  auto response = co_await client.StatsContainer(agent::v1::ProcessId(), kAgentCallTimeout);
  if (!response.ok()) co_return Annotate(response.status(), what);
  absl::Status cleaned = CleanGuestStats(*response);
  if (!cleaned.ok()) co_return Annotate(cleaned, what);
  co_return std::move(*response);
}

std::map<std::string, std::string> VmSandbox::Facts() const {
  SandboxFacts facts;
  facts.config = &options_.config;
  facts.size = size_->now();
  facts.machine_pid = hypervisor_->Pid();
  facts.is_clone = hypervisor_->IsClone();
  facts.accelerator = hypervisor_->accelerator();
  facts.virtiofsd_pid = share_->daemon_pid();
  facts.guest_kernel = guest_kernel_;
  facts.features = features_;
  return Describe(facts);
}

std::string VmSandbox::ConsoleTail(size_t size_max) const { return hypervisor_->ConsoleTail(size_max); }

Co<absl::Status> VmSandbox::Boot() {
  if (!IsValidSandboxId(options_.id)) co_return absl::InvalidArgumentError("this is no sandbox id");
  absl::Status allowed = CheckPodNamespaces();
  if (!allowed.ok()) co_return allowed;
  absl::Status opened = co_await network_->Open(options_.netns_path, options_.config.host_network);
  if (!opened.ok()) co_return opened;
  timeline::Step("network namespace ready");
  CO_ASSIGN_OR_RETURN(BootToken token, MakeBootToken());
  auto spec = std::make_shared<hypervisors::VmSpec>(MakeMachineSpec(options_, token));
  // Before the shim is in the pod's cgroup, where a template that is being made does not belong.
  absl::Status chosen = co_await ChooseTemplate(spec);
  if (!chosen.ok()) co_return chosen;
  absl::Status prepared = co_await PrepareHost(spec);
  if (!prepared.ok()) co_return prepared;
  const std::string saved_state = spec->saved_state;
  absl::Status shared = co_await share_->Open(options_.config, spec);
  if (!shared.ok()) co_return shared;
  if (share_->daemon_pid() > 0) Spawn(executor_, "watching virtiofsd", WatchVirtiofsd(shared_from_this()));
  if (state_ != State::kBooting) co_return absl::CancelledError("it was stopped meanwhile");
  share_ready_.Set();
  timeline::Step("share ready");
  if (const NetworkModel model = options_.config.internetworking_model; model != NetworkModel::kNone) {
    absl::Status joined = co_await network_->Join(model, EndpointsRecord(options_.id), spec);
    if (!joined.ok()) co_return joined;
  }
  if (state_ != State::kBooting) co_return absl::CancelledError("it was stopped meanwhile");
  const int netns_fd = network_->fd();
  absl::Status started = co_await hypervisor_->Start(std::move(*spec), netns_fd);
  if (!started.ok()) co_return started;
  network_->LetGo();
  std::function<absl::Status()> take = [cgroup = cgroup_, pid = hypervisor_->Pid(), daemons = DaemonPids()] {
    return cgroup->Take(pid, daemons);
  };
  absl::Status taken = co_await RunBlocking(pool_, std::move(take));
  if (!taken.ok()) co_return taken;
  timeline::Step("virtual machine started");
  Spawn(executor_, "watching the sandbox", WatchMachine(shared_from_this()));
  const std::chrono::seconds timeout(options_.config.dial_timeout);
  auto peer = co_await ConnectAgent(hypervisor_, std::move(token), timeout);
  if (!peer.ok()) {
    // Who stops a pod that is starting has nothing against its template.
    if (state_ == State::kBooting) ForgetTemplate(saved_state);
    co_return peer.status();
  }
  connection_ = peer->connection;
  features_ = peer->features;
  guest_kernel_ = peer->kernel_release;
  Spawn(executor_, "watching the agent", WatchConnection(shared_from_this()));
  absl::Status own = co_await TakeOver(saved_state);
  if (!own.ok()) co_return own;
  absl::Status made = co_await SetUpGuest(peer->answered_at);
  if (!made.ok()) co_return made;
  absl::Status reachable = co_await network_->Connect(connection_, features_);
  if (!reachable.ok()) co_return reachable;
  absl::Status held = co_await HoldPod();
  if (!held.ok()) co_return Annotate(held, "making the pod's namespaces");
  size_->Connect(connection_, features_, [weak = weak_from_this()](hypervisors::MachineSize now) {
    if (auto sandbox = weak.lock()) sandbox->TakeGrown(now);
  });
  if (options_.config.port_forward) network_->ForwardPorts(connection_, features_);
  if (peer->features.contains(kClockFeature)) Spawn(executor_, "keeping the guest's clock", KeepClock(connection_));
  timeline::Step("agent ready");
  asio::post(pool_, &hypervisors::TrimMemory);
  if (options_.config.shared_fs == SharedFs::kVirtioFs) share_->KeepOnlyOwn();
  co_return absl::OkStatus();
}

Co<absl::Status> VmSandbox::ChooseTemplate(std::shared_ptr<hypervisors::VmSpec> spec) {
  if (!spec->is_cloneable) co_return absl::OkStatus();
  std::function<absl::Status()> job = [config = options_.config, spec] {
    UseTemplate(config, *spec);
    return absl::OkStatus();
  };
  co_return co_await RunBlocking(pool_, std::move(job));
}

Co<absl::Status> VmSandbox::TakeOver(std::string saved_state) {
  if (hypervisor_->IsClone()) {
    timeline::Step("clone of a template");
    co_return co_await Rekey(connection_);
  }
  ForgetTemplate(saved_state);
  co_return absl::OkStatus();
}

void VmSandbox::ForgetTemplate(const std::string& saved_state) {
  if (saved_state.empty()) return;
  asio::post(pool_, [config = options_.config, saved_state] { DropTemplate(config, saved_state); });
}

Co<std::string> VmSandbox::ReasonOfEnd() {
  std::function<absl::StatusOr<std::string>()> ask = [cgroup = cgroup_]() -> absl::StatusOr<std::string> {
    return cgroup->ReasonOfEnd();
  };
  auto reason = co_await RunBlockingFor<std::string>(pool_, std::move(ask));
  co_return reason.value_or("");
}

absl::Status VmSandbox::CheckPodNamespaces() const {
  if (!options_.pod.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> accepted,
                   CheckHostNamespaces(options_.pod->host_namespaces, HostNamespaceRulesOf(options_.config)));
  for (const std::string& type : accepted)
    log::Warn("the pod's {} namespace is the machine's own, not the host's", type);
  return absl::OkStatus();
}

Co<absl::Status> VmSandbox::PrepareHost(std::shared_ptr<hypervisors::VmSpec> spec) {
  std::function<absl::Status()> job = [id = options_.id, config = options_.config, vsock = vsock_daemon_, spec,
                                       cgroup = cgroup_]() -> absl::Status {
    RETURN_IF_ERROR(MakeRuntimeDirectory(id));
    const absl::Status kept = timeline::KeepIn(TimelineFile(id));
    if (!kept.ok()) log::Warn("keeping the start's time line: {}", kept.message());
    RETURN_IF_ERROR(cgroup->Enter());
    const std::string warning = cgroup->WarningOfLimit(config.default_memory);
    if (!warning.empty()) log::Warn("{}", warning);
    LeaveTemplateWithoutRoom(*cgroup, *spec);
    return PrepareChannel(config, *spec, *vsock);
  };
  absl::Status status = co_await RunBlocking(pool_, std::move(job));
  if (vsock_daemon_->output.valid()) {
    Spawn(executor_, "logging vhost-device-vsock", LogDaemon("vhost-device-vsock", std::move(vsock_daemon_->output)));
  }
  co_return status;
}

std::vector<pid_t> VmSandbox::DaemonPids() const {
  std::vector<pid_t> out;
  if (share_->daemon_pid() > 0) out.push_back(share_->daemon_pid());
  if (vsock_daemon_->process.pid > 0) out.push_back(vsock_daemon_->process.pid);
  return out;
}

Co<absl::Status> VmSandbox::SetUpGuest(std::chrono::steady_clock::time_point hello_answered_at) {
  if (options_.pod.has_value() && !features_.contains(kPodFeature))
    co_return Annotate(AgentTooOld(), "setting up the guest");
  agent::v1::CreateSandboxRequest request = MakeSandboxRequest(options_, share_->files_max());
  agent::v1::AgentClient client(connection_);
  AddClock(hello_answered_at, request);
  auto response = co_await client.CreateSandbox(std::move(request), kAgentCallTimeout);
  co_return Annotate(response.status(), "setting up the guest");
}

Co<absl::Status> VmSandbox::HoldPod() {
  if (!options_.pod.has_value() || !NeedsHolder(*options_.pod)) co_return absl::OkStatus();
  if (!features_.contains(kHeldPodFeature)) co_return AgentTooOld();
  agent::v1::CreateContainerRequest request = MakeHolderRequest(options_);
  absl::Status started = co_await StartHolder(connection_, std::move(request));
  if (!started.ok()) co_return started;
  Spawn(executor_, "watching the pod's first process", WatchHolder(shared_from_this()));
  co_return absl::OkStatus();
}

void VmSandbox::TakeGrown(hypervisors::MachineSize now) {
  asio::post(pool_, [cgroup = cgroup_, pid = hypervisor_->Pid(), now] {
    const absl::Status taken = cgroup->TakeProcessors(pid);
    if (!taken.ok()) log::Warn("{}", taken.message());
    const std::string warning = cgroup->WarningOfLimit(static_cast<uint32_t>(now.memory_mib));
    if (!warning.empty()) log::Warn("{}", warning);
  });
}

absl::Status VmSandbox::AgentTooOld() {
  return absl::UnimplementedError("the agent in the guest's image is too old for it; rebuild it with tools/build");
}

absl::Status VmSandbox::NotRunning() const {
  if (!start_status_.ok()) return start_status_;
  return absl::UnavailableError(absl::StrCat("sandbox \"", options_.id, "\" has stopped"));
}

Co<absl::Status> VmSandbox::WatchMachine(std::shared_ptr<VmSandbox> self) {
  co_await self->hypervisor_->WaitStopped();
  if (self->state_ == State::kRunning) {
    log::Warn("the virtual machine has stopped unexpectedly");
    self->state_ = State::kStopping;
    asio::post(self->pool_, [cgroup = self->cgroup_] {
      const std::string reason = cgroup->ReasonOfEnd();
      if (!reason.empty()) log::Warn("{}", reason);
    });
  }
  self->stopped_.Set();
  if (self->connection_) self->connection_->Close(absl::UnavailableError("the virtual machine has stopped"));
  for (auto& [id, entry] : self->containers_) entry.container->StopAll(kVmDiedStatus);
  co_return absl::OkStatus();
}

Co<absl::Status> VmSandbox::WatchConnection(std::shared_ptr<VmSandbox> self) {
  std::shared_ptr<ttrpc::Connection> connection = self->connection_;
  absl::Status reason = co_await connection->WaitClosed();
  if (self->state_ != State::kRunning) co_return absl::OkStatus();
  log::Warn("the agent's connection has ended: {}", reason.message());
  co_return co_await self->hypervisor_->Stop();
}

Co<absl::Status> VmSandbox::WatchHolder(std::shared_ptr<VmSandbox> self) {
  std::shared_ptr<ttrpc::Connection> connection = self->connection_;
  absl::Status ended = co_await WaitHolder(std::move(connection));
  const bool is_alive = self->state_ == State::kBooting || self->state_ == State::kRunning;
  if (!ended.ok() || !is_alive) co_return absl::OkStatus();  // the connection's end is seen to elsewhere
  log::Warn("the process that holds the pod's namespaces has ended");
  co_return co_await self->hypervisor_->Stop();
}

Co<absl::Status> VmSandbox::WatchVirtiofsd(std::shared_ptr<VmSandbox> self) {
  CO_RETURN_IF_ERROR(co_await self->share_->WaitDaemon());
  if (self->state_ != State::kBooting && self->state_ != State::kRunning) co_return absl::OkStatus();
  log::Warn("virtiofsd has ended unexpectedly");
  self->is_virtiofsd_lost_ = true;
  co_return co_await self->hypervisor_->Stop();
}

void VmSandbox::WakeRelease() {
  if (creating_.empty() && creators_gone_ != nullptr) creators_gone_->Set();
}

Co<absl::Status> VmSandbox::Release() {
  while (releasing_ != nullptr) {
    std::shared_ptr<Latch> other = releasing_;
    co_await other->Wait();
  }
  auto mine = std::make_shared<Latch>(executor_);
  releasing_ = mine;
  absl::Status status = co_await ReleaseAll();
  releasing_ = nullptr;
  mine->Set();
  co_return status;
}

Co<absl::Status> VmSandbox::ReleaseAll() {
  absl::Status stopped = co_await hypervisor_->Stop();
  if (connection_) connection_->Close(absl::UnavailableError("the sandbox has stopped"));
  if (!creating_.empty()) {
    creators_gone_ = std::make_shared<Latch>(executor_);
    std::shared_ptr<Latch> gone = creators_gone_;
    co_await gone->Wait();
  }
  sockets_->Stop();
  mirrors_->Stop();
  for (auto& [id, entry] : containers_) {
    entry.container->StopAll(kVmDiedStatus);
    devices_->ForgetAllOf(id);
  }
  containers_.clear();
  absl::Status left = co_await network_->Release();
  std::function<absl::Status()> job = [id = options_.id, vsock = vsock_daemon_, stopped, close_share = share_->Close(),
                                       left, cgroup = cgroup_, console = hypervisor_->ConsoleTail(kConsoleKept)] {
    // Each step whatever came of the one before.
    absl::Status released = stopped;
    released.Update(left);
    released.Update(StopVsockDaemon(*vsock, kVsockDaemonStopTimeout));
    released.Update(close_share());
    RunRecordedHooks(HooksDirectory(id), kHookTimeout);
    released.Update(cgroup->Leave());
    WriteConsole(id, console);
    KeepLogs(id);
    // It says where the rest is, to the shim's `delete`.
    if (released.ok()) released = RemoveTree(RuntimeDirectory(id));
    return released;
  };
  absl::Status status = co_await RunBlocking(pool_, std::move(job));
  state_ = State::kStopped;
  stopped_.Set();
  co_return status;
}

std::shared_ptr<Sandbox> MakeVmSandbox(asio::any_io_executor executor, asio::thread_pool& pool, SandboxOptions options,
                                       std::shared_ptr<hypervisors::Hypervisor> hypervisor) {
  return std::make_shared<VmSandbox>(executor, pool, std::move(options), std::move(hypervisor));
}

std::shared_ptr<Sandbox> Sandbox::Make(asio::any_io_executor executor, asio::thread_pool& pool,
                                       SandboxOptions options) {
  return MakeVmSandbox(executor, pool, std::move(options), hypervisors::MakeLibvirtHypervisor(executor));
}

}  // namespace kata::virtcontainers
