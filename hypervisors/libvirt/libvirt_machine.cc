// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/libvirt_machine.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include <boost/asio/post.hpp>

#include "hypervisors/accelerator/accelerator.h"
#include "hypervisors/accelerator/hidden_kvm.h"
#include "hypervisors/accelerator/kernel_params.h"
#include "hypervisors/accelerator/run_clock.h"
#include "hypervisors/libvirt/capability_cache.h"
#include "hypervisors/libvirt/cleanup.h"
#include "hypervisors/libvirt/device_xml.h"
#include "hypervisors/libvirt/file_set.h"
#include "hypervisors/libvirt/machine_files.h"
#include "hypervisors/libvirt/machine_state.h"
#include "hypervisors/libvirt/memory_device.h"
#include "hypervisors/libvirt/prompt_kill.h"
#include "hypervisors/vsock.h"
#include "proto/base/log.h"
#include "proto/base/process.h"
#include "proto/base/status.h"
#include "proto/base/timeline.h"
#include "proto/ttrpc/session.h"

namespace kata::hypervisors {
namespace {

constexpr std::chrono::seconds kNoticeTimeout{2};   // for libvirt to see that the process ended
constexpr std::chrono::seconds kProcessTimeout{5};  // for a killed process to end
constexpr std::chrono::seconds kComeUpTimeout{10};  // for QEMU to come up once its process is there
constexpr std::chrono::milliseconds kComeUpPoll{500};
constexpr size_t kTailInError = 400;
constexpr char kKvmDevice[] = "/dev/kvm";
constexpr std::chrono::milliseconds kVsockRetry{10};      // until the agent listens
constexpr std::chrono::milliseconds kVsockTimeout{1000};  // of one attempt
// Of one attempt once the agent listens. vhost-device-vsock ends when its host has gone at the moment of the answer.
constexpr std::chrono::seconds kVhostUserVsockTimeout{10};

// Runs in a thread of its own that ends afterwards: the pool's threads stay out of the namespaces. libvirt's own thread
// of the machine, which it starts here, lives in them.
absl::Status InNamespaces(int netns, int mount_namespace, bool is_kvm, const std::string& kvm_cover,
                          const std::function<absl::Status()>& job) {
  absl::Status status;
  std::thread thread([&job, &status, netns, mount_namespace, is_kvm, &kvm_cover] {
    if (setns(netns, CLONE_NEWNET) != 0) {
      status = ErrnoStatus(errno, "enter the network namespace");
      return;
    }
    if (mount_namespace >= 0 && (unshare(CLONE_FS) != 0 || setns(mount_namespace, CLONE_NEWNS) != 0)) {
      status = ErrnoStatus(errno, "enter the mount namespace");
      return;
    }
    const absl::Status hidden = is_kvm ? absl::OkStatus() : HideKvm(kKvmDevice, kvm_cover);
    if (!hidden.ok()) log::Warn("hide hardware virtualization, which makes a start faster: {}", hidden.message());
    status = job();
  });
  thread.join();
  return status;
}

const VhostUserVsock* FindVhostUserVsock(const VmSpec& spec) {
  for (const Device& device : spec.devices) {
    if (const auto* vsock = std::get_if<VhostUserVsock>(&device.kind)) return vsock;
  }
  return nullptr;
}

std::vector<LibvirtSession::File> FilesOf(const std::vector<Device>& devices) {
  std::vector<LibvirtSession::File> files;
  for (const Device& device : devices) {
    if (FileOf(device) >= 0) files.push_back({FileGroup(device.id), FileOf(device)});
  }
  return files;
}

}  // namespace

asio::thread_pool& MachinePool() {
  constexpr size_t kThreads = 2;
  static asio::thread_pool& pool = *new asio::thread_pool(kThreads);
  return pool;
}

struct LibvirtMachine::Job {
  VmSpec spec;
  std::shared_ptr<LibvirtSession> session;
  UniqueFd pidfd;
  pid_t pid = 0;
  bool is_kvm = false;
  uint32_t vsock_cid = 0;
  std::string capabilities;  // the directory of libvirt's files
  std::string warning;
};

absl::Status LibvirtMachine::FindProcess(Job& job, const MachinePaths& paths) {
  const std::string domain = DomainName(job.spec.name);
  job.pid = PidFromFile(paths, domain);
  if (job.pid == 0) return absl::InternalError("find the machine's process: no pid file");
  job.pidfd = OpenProcess(job.pid);
  if (!job.pidfd.valid() || !IsMachineProcess(job.pid, paths, domain)) {
    job.pidfd.reset();
    return absl::UnavailableError("find the machine's process: it ended at once");
  }
  return absl::OkStatus();
}

// The machine that is there paused goes on from the saved state, with what could not be there before.
absl::Status LibvirtMachine::GoOn(Job& job, const MachinePaths& paths) {
  timeline::Step("machine made");
  RETURN_IF_ERROR(LoadState(*job.session, job.pid, job.spec, job.spec.saved_state));
  timeline::Step("saved state loaded");
  int index = 0;
  for (const Device& device : job.spec.devices) {
    if (ComesLate(device)) {
      ASSIGN_OR_RETURN(const std::string xml,
                       DeviceXml(device, paths, index, DevicePlace::kRootPort, LatePort(job.spec)));
      RETURN_IF_ERROR(job.session->Attach(xml));
    }
    ++index;
  }
  return job.session->Resume();
}

absl::Status LibvirtMachine::Begin(Job& job, const MachinePaths& paths, int netns) {
  const VmSpec& spec = job.spec;
  const bool is_clone = !spec.saved_state.empty();
  ASSIGN_OR_RETURN(const std::string xml, DomainXml(spec, paths, job.is_kvm));
  // Its files are the emulator's user's. They are kept before there is a guest that could have got hold of that user.
  const auto keep_capabilities = [&job, &spec, &paths] {
    if (spec.cache_dir.empty()) return;
    absl::Status kept = job.session->LoadCapabilities(spec.emulator, spec.machine_type, job.is_kvm);
    if (kept.ok()) kept = StoreCapabilities(job.capabilities, paths.libvirt_root);
    if (!kept.ok()) log::Warn("keep libvirt's capability files: {}", kept.message());
  };
  const std::function<absl::Status()> create = [&job, &xml, &keep_capabilities, is_clone] {
    keep_capabilities();
    return job.session->Create(xml, FilesOf(job.spec.devices), is_clone);
  };
  RETURN_IF_ERROR(InNamespaces(netns, spec.mount_namespace, job.is_kvm, paths.runtime_dir + "/libvirt/no-kvm", create));
  RETURN_IF_ERROR(FindProcess(job, paths));
  return is_clone ? GoOn(job, paths) : absl::OkStatus();
}

LibvirtMachine::LibvirtMachine(asio::any_io_executor executor)
    : executor_(executor),
      reaper_(std::make_shared<ChildReaper>(executor, "qemu-system-")),
      console_(std::make_shared<Console>(executor)),
      pidfd_(executor),
      started_(executor),
      process_ended_(executor),
      domain_stopped_(executor),
      stopped_(executor),
      cleaned_(executor) {}

absl::Status LibvirtMachine::RequireState(State state, absl::string_view action) const {
  if (state_ == state) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(action, " machine \"", domain_, "\": wrong state"));
}

Co<absl::Status> LibvirtMachine::Start(VmSpec spec, int netns) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(RequireState(State::kDefined, "start"));
  netns_ = std::make_shared<UniqueFd>(::fcntl(netns, F_DUPFD_CLOEXEC, 0));
  if (!netns_->valid()) co_return ErrnoStatus(errno, "keep the network namespace");
  state_ = State::kStarting;
  domain_ = DomainName(spec.name);
  paths_ = std::make_unique<MachinePaths>(spec.runtime_dir);
  auto job = std::make_shared<Job>();
  job->spec = std::move(spec);
  Spawn(executor_, "watching a start", EndSlowStart(self));
  absl::Status status = co_await StartOnPool(job, netns);
  started_.Set();
  if (status.ok() && !is_kill_sent_) co_return absl::OkStatus();
  if (status.ok()) status = absl::CancelledError("stopped meanwhile");
  if (is_late_) status = absl::DeadlineExceededError("QEMU did not come up");
  const std::string tail = console_->Tail(kTailInError);
  const bool is_stop_wanted = is_kill_sent_;
  Kill();
  if (!is_stop_wanted) reason_ = StopReason::kFailed;
  if (!pidfd_.is_open()) OnProcessEnd();
  const absl::Status cleaned = co_await FinishStopped();
  if (!cleaned.ok()) log::Warn("clean up after a failed start of machine {}: {}", domain_, cleaned.message());
  std::string what = absl::StrCat("start machine \"", domain_, "\"");
  status = Annotate(status, what);
  if (tail.empty()) co_return status;
  co_return absl::Status(status.code(), absl::StrCat(status.message(), "; its console ends: ", tail));
}

// libvirt waits for QEMU's monitor without a limit, be it of the machine or of the QEMU that it asks before. There is
// no descriptor of the process yet; once it is killed libvirt's call returns.
Co<absl::Status> LibvirtMachine::EndSlowStart(std::shared_ptr<LibvirtMachine> self) {
  std::optional<RunClock> clock;
  pid_t watched = 0;
  bool is_started = co_await self->started_.WaitFor(kComeUpPoll);
  while (!is_started && self->state_ == State::kStarting) {
    std::function<absl::StatusOr<std::vector<EmulatorProcess>>()> find = [paths = *self->paths_] {
      return FindEmulators(paths);
    };
    const auto emulators = co_await RunBlockingFor<std::vector<EmulatorProcess>>(MachinePool(), std::move(find));
    if (!emulators.ok()) co_return emulators.status();
    if (self->started_.is_set()) break;
    if (!emulators->empty() && emulators->front().pid != watched) {
      watched = emulators->front().pid;
      clock.emplace(watched);
    }
    if (clock && clock->Elapsed() >= kComeUpTimeout) self->is_late_ = true;
    if (self->is_late_) *self->is_given_up_ = true;
    if (self->is_late_ || self->is_kill_sent_) {
      for (const EmulatorProcess& emulator : *emulators) {
        SignalProcess(emulator.pidfd.get(), SIGKILL);
      }
    }
    is_started = co_await self->started_.WaitFor(kComeUpPoll);
  }
  co_return absl::OkStatus();
}

Co<absl::Status> LibvirtMachine::StartOnPool(std::shared_ptr<Job> job, int netns) {
  CO_RETURN_IF_ERROR(reaper_->Start());
  const MachinePaths paths = *paths_;
  std::function<absl::Status()> prepare = [job, paths] { return PrepareMachine(job->spec, paths); };
  absl::Status status = co_await RunBlocking(MachinePool(), std::move(prepare));
  CO_RETURN_IF_ERROR(status);
  if (job->spec.has_console_log) console_->LogLines();
  CO_RETURN_IF_ERROR(console_->Open(paths.console_fifo, job->spec.uid, job->spec.gid));
  if (is_kill_sent_) co_return absl::OkStatus();

  std::weak_ptr<LibvirtMachine> weak = weak_from_this();
  asio::any_io_executor executor = executor_;
  LibvirtSession::EventHandler handler = [weak, executor](DomainEvent event) {
    asio::post(executor, [weak, event] {
      if (std::shared_ptr<LibvirtMachine> machine = weak.lock()) machine->OnEvent(event);
    });
  };
  std::function<absl::Status()> create = [job, paths, netns, handler, is_given_up = is_given_up_]() -> absl::Status {
    VmSpec& spec = job->spec;
    const AcceleratorChoice choice = ChooseAccelerator(spec, kKvmDevice, "/sys/module");
    job->capabilities = CapabilitiesDir(spec, choice.is_kvm);
    if (choice.is_kvm && !choice.why_not_kvm.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "use hardware virtualization, as configuration key \"accelerator\" demands: ", choice.why_not_kvm));
    }
    if (!choice.is_kvm) spec.kernel_params += TcgKernelParams(spec.vcpus, spec.vcpus_max);
    job->is_kvm = choice.is_kvm;
    job->warning = choice.why_not_kvm;
    if (!spec.cache_dir.empty()) {
      const absl::StatusOr<int> seeded = SeedCapabilities(job->capabilities, paths.libvirt_root);
      // On a full host nothing that comes would succeed, with less clear words.
      if (absl::IsResourceExhausted(seeded.status())) return seeded.status();
      // Without the cache libvirt probes the emulator: slower, not wrong.
      if (!seeded.ok()) log::Warn("seed libvirt's capability files: {}", seeded.status().message());
    }
    ASSIGN_OR_RETURN(job->session, LibvirtSession::Open("qemu:///embed?root=" + paths.libvirt_root, handler));
    absl::Status begun = Begin(*job, paths, netns);
    if (!begun.ok() && !spec.saved_state.empty() && !*is_given_up) {
      log::Warn("start machine {} from a saved state, it boots instead: {}", spec.name, begun.message());
      job->pidfd.reset();
      RETURN_IF_ERROR(job->session->Destroy());
      spec.saved_state.clear();
      begun = Begin(*job, paths, netns);
    }
    RETURN_IF_ERROR(begun);
    if (AgentChannelOf(spec) == AgentChannel::kVsock) {
      ASSIGN_OR_RETURN(const std::string document, job->session->Document());
      ASSIGN_OR_RETURN(job->vsock_cid, VsockCidOf(document));
    }
    return absl::OkStatus();
  };
  status = co_await RunBlocking(MachinePool(), std::move(create));
  session_ = job->session;
  CO_RETURN_IF_ERROR(status);
  pid_ = job->pid;
  accelerator_ = job->is_kvm ? Accelerator::kKvm : Accelerator::kTcg;
  spec_ = std::make_shared<const VmSpec>(job->spec);
  size_ = {spec_->vcpus, spec_->memory_mib};
  slots_.emplace(spec_->root_ports, static_cast<int>(spec_->devices.size()));
  vsock_cid_ = job->vsock_cid;
  state_ = State::kRunning;
  WatchProcess(std::move(job->pidfd));
  if (!job->warning.empty()) {
    log::Warn("machine {} runs without hardware virtualization, many times slower: {}", domain_, job->warning);
  }
  co_return absl::OkStatus();
}

Co<absl::StatusOr<std::unique_ptr<ttrpc::Transport>>> LibvirtMachine::ConnectAgent(std::chrono::milliseconds timeout) {
  auto self = shared_from_this();
  if (pid() == 0) co_return RequireState(State::kRunning, "connect to the agent of");
  if (AgentChannelOf(*spec_) == AgentChannel::kVirtioSerial) {
    CO_ASSIGN_OR_RETURN(UniqueFd port, ttrpc::ConnectUnix(paths_->agent_socket));
    co_return ttrpc::MakeHostSession(executor_, ttrpc::MakeFdTransport(executor_, std::move(port)));
  }
  auto fd = co_await ConnectVsockPort(timeout);
  if (!fd.ok()) co_return fd.status();
  co_return ttrpc::MakeFdTransport(executor_, *std::move(fd));
}

Co<absl::StatusOr<UniqueFd>> LibvirtMachine::ConnectVsockPort(std::chrono::milliseconds timeout) {
  const RunClock clock(pid_);
  while (true) {
    std::function<absl::StatusOr<UniqueFd>()> connect = [spec = spec_, paths = *paths_,
                                                         cid = vsock_cid_]() -> absl::StatusOr<UniqueFd> {
      const VhostUserVsock* vsock = FindVhostUserVsock(*spec);
      if (vsock == nullptr) return ConnectVsock(cid, kAgentVsockPort, kVsockTimeout);
      // A connection that comes while the guest's driver starts ends the daemon's only worker: it finds memory, but no
      // queues yet. What the guest sends shows that they are there.
      absl::Status ready = WaitForReady(vsock->ready, kVsockTimeout);
      if (!ready.ok()) return ready;
      return ConnectVhostUserVsock(paths.Shorten(vsock->host_socket), kAgentVsockPort, spec->uid,
                                   kVhostUserVsockTimeout);
    };
    absl::StatusOr<UniqueFd> fd = co_await RunBlockingFor<UniqueFd>(MachinePool(), std::move(connect));
    if (fd.ok() || !absl::IsUnavailable(fd.status())) co_return std::move(fd);
    if (clock.Elapsed() >= timeout) co_return absl::DeadlineExceededError(fd.status().message());
    const bool is_stopped = co_await stopped_.WaitFor(kVsockRetry);
    if (is_stopped) co_return absl::UnavailableError("the virtual machine has stopped");
  }
}

Co<absl::Status> LibvirtMachine::Save(std::string directory) {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(RequireState(State::kRunning, "save"));
  const std::string what = absl::StrCat("save machine \"", domain_, "\"");
  if (!spec_->is_cloneable || !spec_->devices.empty() || !slots_->empty() || size_.memory_mib != spec_->memory_mib)
    co_return absl::FailedPreconditionError(what + ": only one without devices, made to be saved, can be");
  absl::Status paused = co_await Pause();
  if (!paused.ok()) co_return Annotate(paused, what);
  std::function<absl::Status()> job = [session = session_, pid = pid_, spec = spec_, directory] {
    return SaveState(*session, pid, *spec, directory);
  };
  absl::Status status = co_await RunBlocking(MachinePool(), std::move(job));
  co_return Annotate(status, what);
}

Co<absl::Status> LibvirtMachine::Pause() {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(RequireState(State::kRunning, "pause"));
  std::shared_ptr<LibvirtSession> session = session_;
  std::function<absl::Status()> job = [session] { return session->Pause(); };
  absl::Status status = co_await RunBlocking(MachinePool(), std::move(job));
  if (status.ok() && state_ == State::kRunning) state_ = State::kPaused;
  co_return status;
}

Co<absl::Status> LibvirtMachine::Resume() {
  auto self = shared_from_this();
  CO_RETURN_IF_ERROR(RequireState(State::kPaused, "resume"));
  std::shared_ptr<LibvirtSession> session = session_;
  std::function<absl::Status()> job = [session] { return session->Resume(); };
  absl::Status status = co_await RunBlocking(MachinePool(), std::move(job));
  if (status.ok() && state_ == State::kPaused) state_ = State::kRunning;
  co_return status;
}

Co<absl::Status> LibvirtMachine::Stop() {
  auto self = shared_from_this();
  if (state_ == State::kDefined) {
    state_ = State::kStopped;
    reason_ = StopReason::kDestroyed;
    stopped_.Set();
    co_return absl::OkStatus();
  }
  if (state_ == State::kStopped && paths_ == nullptr) co_return absl::OkStatus();
  Kill();
  if (!started_.is_set()) {
    // Start and its watcher see the mark and clean up.
    co_await started_.Wait();
  }
  const bool is_ended = co_await process_ended_.WaitFor(kProcessTimeout);
  if (!is_ended) {
    co_return absl::DeadlineExceededError(
        absl::StrCat("stop machine \"", domain_, "\": process \"", pid_, "\" does not end"));
  }
  co_return co_await FinishStopped();
}

// Runs once the process is gone; the first caller does the work, the others wait for it.
Co<absl::Status> LibvirtMachine::FinishStopped() {
  auto self = shared_from_this();
  if (is_cleaning_) {
    co_await cleaned_.Wait();
    co_return clean_status_;
  }
  is_cleaning_ = true;
  co_await process_ended_.Wait();
  bool is_noticed = session_ == nullptr;
  if (!is_noticed && pid_ != 0) is_noticed = co_await domain_stopped_.WaitFor(kNoticeTimeout);
  std::shared_ptr<LibvirtSession> session = std::move(session_);
  const MachinePaths paths = *paths_;
  std::string domain = domain_;
  console_->Tail(0);
  console_->Close();
  std::function<absl::Status()> job = [session, paths, domain, is_noticed]() mutable -> absl::Status {
    absl::Status status;
    if (session != nullptr && !is_noticed) status = session->Destroy();
    session.reset();  // closes libvirt's driver: nothing writes below its root any more
    status.Update(RemoveCgroups("/sys/fs/cgroup", domain));
    status.Update(RemoveFiles(paths));
    return status;
  };
  session.reset();
  clean_status_ = co_await RunBlocking(MachinePool(), std::move(job));
  reaper_->Scan();
  reaper_->Stop();
  cleaned_.Set();
  co_return clean_status_;
}

Co<StopReason> LibvirtMachine::WaitStopped() {
  auto self = shared_from_this();
  co_await stopped_.Wait();
  co_return reason_;
}

void LibvirtMachine::WatchProcess(UniqueFd pidfd) {
  boost::system::error_code ec;
  pidfd_.assign(pidfd.get(), ec);
  if (ec) {
    log::Error("watch the process of machine {}: {}", domain_, ec.message());
    return;
  }
  pidfd.release();
  if (is_kill_sent_) {
    is_kill_sent_ = false;
    Kill();
  }
  auto self = shared_from_this();
  pidfd_.async_wait(asio::posix::stream_descriptor::wait_read, [self](boost::system::error_code error) {
    if (!error) self->OnProcessEnd();
  });
}

void LibvirtMachine::OnProcessEnd() {
  CollectEnded(pidfd_.native_handle());  // at once: libvirt waits for that (prompt_kill.h)
  reaper_->Scan();
  state_ = State::kStopped;
  process_ended_.Set();
  stopped_.Set();
}

void LibvirtMachine::OnEvent(DomainEvent event) {
  // Of a machine that could not go on from a saved state; who starts it sees to its end.
  if (state_ == State::kStarting) return;
  if (!is_kill_sent_ && !process_ended_.is_set()) {
    if (event == DomainEvent::kShutDown) reason_ = StopReason::kShutDown;
    if (event == DomainEvent::kCrashed) reason_ = StopReason::kCrashed;
  }
  // Two events may tell of one end: "crashed" is both a state and a way to stop.
  if (event == DomainEvent::kStopped) domain_stopped_.Set();
}

void LibvirtMachine::Kill() {
  if (is_kill_sent_ || process_ended_.is_set()) return;
  is_kill_sent_ = true;
  *is_given_up_ = true;
  reason_ = StopReason::kDestroyed;
  if (pidfd_.is_open()) SignalProcess(pidfd_.native_handle(), SIGKILL);
}

void LibvirtMachine::Abandon() {
  if (state_ == State::kDefined) return;
  if (cleaned_.is_set()) return;
  Spawn(executor_, "stop machine " + domain_, Stop());
}

namespace {

class LibvirtHypervisor : public Hypervisor {
 public:
  explicit LibvirtHypervisor(asio::any_io_executor executor) : machine_(std::make_shared<LibvirtMachine>(executor)) {}
  ~LibvirtHypervisor() override { machine_->Abandon(); }

  Co<absl::Status> Start(VmSpec spec, int netns) override { return machine_->Start(std::move(spec), netns); }
  Co<absl::StatusOr<std::unique_ptr<ttrpc::Transport>>> ConnectAgent(std::chrono::milliseconds timeout) override {
    return machine_->ConnectAgent(timeout);
  }
  Co<absl::Status> Attach(Device device) override { return machine_->Attach(std::move(device)); }
  Co<absl::Status> Detach(std::string id) override { return machine_->Detach(std::move(id)); }
  Co<absl::StatusOr<MachineSize>> Resize(MachineSize size) override { return machine_->Resize(size); }
  Co<absl::Status> Save(std::string directory) override { return machine_->Save(std::move(directory)); }
  bool IsClone() const override { return machine_->is_clone(); }
  pid_t Pid() const override { return machine_->pid(); }
  Accelerator accelerator() const override { return machine_->accelerator(); }
  Co<absl::Status> Pause() override { return machine_->Pause(); }
  Co<absl::Status> Resume() override { return machine_->Resume(); }
  Co<absl::Status> Stop() override { return machine_->Stop(); }
  Co<StopReason> WaitStopped() override { return machine_->WaitStopped(); }
  std::string ConsoleTail(size_t size_max) const override { return machine_->ConsoleTail(size_max); }

 private:
  std::shared_ptr<LibvirtMachine> machine_;
};

}  // namespace

std::unique_ptr<Hypervisor> MakeLibvirtHypervisor(asio::any_io_executor executor) {
  return std::make_unique<LibvirtHypervisor>(executor);
}

}  // namespace kata::hypervisors
