// SPDX-License-Identifier: Apache-2.0
#include "agent/service.h"

#include <nettle/memops.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <absl/strings/escaping.h>

#include "agent/base/errors.h"
#include "agent/base/meminfo.h"
#include "agent/base/paths.h"
#include "agent/clock.h"
#include "agent/entropy.h"
#include "agent/guest.h"
#include "agent/network/dial.h"
#include "agent/oci/character_devices.h"
#include "agent/oci/sysctls.h"
#include "agent/pause/pause.h"
#include "agent/storage/block_devices.h"
#include "agent/storage/layers.h"
#include "agent/storage/memory_volumes.h"
#include "agent/storage/share_limit.h"
#include "agent/storage/storage.h"
#include "proto/base/log.h"
#include "proto/base/mount_options.h"
#include "proto/base/sha256.h"

namespace kata::agent {
namespace {

constexpr size_t kHostnameSizeMax = 64;
constexpr const char* kFeatures[] = {
    "storage-blk", "rekey",  "clock",     "network",  "start-hooks", "resolver",      "sandbox-container", "pod",
    "dial",        "resize", "next-hops", "held-pod", "clone",       "block-devices", "host-sockets",      "mirrors"};
constexpr char kImageLayersFeature[] = "image-layers";
constexpr int kPodSysctlsMax = 256;
// Between two tries to remove what does not end; each waits for its end for a while as well.
constexpr std::chrono::seconds kRemovalPause{1};
// The answer to Shutdown has this long to leave.
constexpr std::chrono::milliseconds kShutdownDelay{50};

absl::Status SetHostname(const std::string& hostname) {
  if (hostname.size() > kHostnameSizeMax) return absl::InvalidArgumentError("hostname: longer than 64 bytes");
  if (!hostname.empty() && ::sethostname(hostname.data(), hostname.size()) != 0)
    return SystemError(errno, "setting the hostname");
  return absl::OkStatus();
}

absl::Status SetPodSysctls(const v1::PodSettings& pod) {
  if (pod.sysctls_size() > kPodSysctlsMax)
    return absl::InvalidArgumentError(absl::StrCat("sysctls of the pod: ", pod.sysctls_size(), " are too many"));
  for (const auto& [key, value] : pod.sysctls()) RETURN_IF_ERROR(WriteSysctl(key, value));
  return absl::OkStatus();
}

Co<absl::Status> PowerOffSoon() {
  co_await Sleep(kShutdownDelay);
  PowerOff();
  co_return absl::OkStatus();
}

}  // namespace

absl::Status CheckId(const std::string& id) {
  bool is_good = !id.empty() && id.size() <= kIdSizeMax && id[0] != '.';
  for (char c : id) is_good = is_good && c != '/' && static_cast<unsigned char>(c) > 0x20;
  if (!is_good) return absl::InvalidArgumentError(absl::StrCat("container id \"", absl::CEscape(id), "\": not usable"));
  return absl::OkStatus();
}

Service::Service(asio::any_io_executor executor, ExitTable* exits, std::function<std::string()> token_sha256)
    : executor_(std::move(executor)),
      exits_(exits),
      watcher_(executor_),
      uevents_(executor_),
      size_(&uevents_, {.cgroup = kContainersCgroup}),
      network_(executor_, GuestNetworkOptions()),
      resolver_(std::make_shared<Resolver>(executor_, kContainersCgroup)),
      sockets_(std::make_shared<HostSockets>(executor_, kHostSockets)),
      token_sha256_(std::move(token_sha256)) {}

absl::Status Service::RequireHello() const {
  return has_said_hello_ ? absl::OkStatus() : absl::FailedPreconditionError("the connection has not said Hello");
}

absl::StatusOr<std::shared_ptr<Container>> Service::FindContainer(const std::string& id) const {
  RETURN_IF_ERROR(RequireHello());
  auto found = containers_.find(id);
  if (found == containers_.end()) return absl::NotFoundError(absl::StrCat("container \"", id, "\": not found"));
  return found->second;
}

absl::StatusOr<std::shared_ptr<Process>> Service::FindProcess(const std::string& id, const std::string& exec_id) const {
  ASSIGN_OR_RETURN(auto container, FindContainer(id));
  auto process = container->Find(exec_id);
  if (process == nullptr) {
    return absl::NotFoundError(absl::StrCat("process \"", exec_id, "\" of container \"", id, "\": not found"));
  }
  return process;
}

Co<absl::StatusOr<v1::HelloResponse>> Service::Hello(ttrpc::CallContext, v1::HelloRequest request) {
  const uint32_t lowest = request.version_min() != 0 ? request.version_min() : request.version();
  const uint32_t version = std::min(request.version(), kAgentProtocolVersion);
  if (version < std::max(lowest, kAgentProtocolVersionMin)) {
    co_return absl::FailedPreconditionError(absl::StrCat("hello: the host speaks versions ", lowest, " to ",
                                                         request.version(), ", this agent ", kAgentProtocolVersionMin,
                                                         " to ", kAgentProtocolVersion));
  }
  const std::string digest = Sha256Hex(request.token());
  const std::string expected = token_sha256_();
  if (expected.size() != digest.size() || nettle_memeql_sec(digest.data(), expected.data(), digest.size()) == 0) {
    co_return absl::FailedPreconditionError("hello: the token is not this boot's");
  }
  has_said_hello_ = true;
  v1::HelloResponse response;
  response.set_version(version);
  for (const char* feature : kFeatures) response.add_features(feature);
  if (CanPutLayersTogether()) response.add_features(kImageLayersFeature);
  utsname names{};
  if (::uname(&names) == 0) response.set_kernel_release(names.release);
  auto meminfo = ReadMeminfo();
  if (meminfo.ok()) {
    response.set_memory_total_bytes(MeminfoBytes(*meminfo, "MemTotal:"));
    response.set_memory_available_bytes(MeminfoBytes(*meminfo, "MemAvailable:"));
  }
  hello_answered_at_ = std::chrono::steady_clock::now();
  co_return response;
}

Co<absl::StatusOr<wire::Empty>> Service::Rekey(ttrpc::CallContext, v1::RekeyRequest request) {
  CO_RETURN_IF_ERROR(RequireHello());
  if (!request.entropy().empty()) CO_RETURN_IF_ERROR(StirEntropy(request.entropy()));
  if (request.clock_realtime_ns() > 0) CO_RETURN_IF_ERROR(SetClock(request.clock_realtime_ns()));
  CO_RETURN_IF_ERROR(SetHostname(request.hostname()));
  // They were not there when the machine that this one is a clone of looked.
  if (request.find_devices()) CO_RETURN_IF_ERROR(WriteExisting("/sys/bus/pci/rescan", "1"));
  co_return wire::Empty();
}

Co<absl::StatusOr<v1::SyncClockResponse>> Service::SyncClock(ttrpc::CallContext, v1::SyncClockRequest request) {
  CO_RETURN_IF_ERROR(RequireHello());
  if (request.correction_ns() != 0) CO_RETURN_IF_ERROR(CorrectClock(request.correction_ns(), has_programs_));
  v1::SyncClockResponse response;
  response.set_clock_realtime_ns(ClockNow());
  co_return response;
}

Co<absl::StatusOr<v1::PingResponse>> Service::Ping(ttrpc::CallContext, v1::PingRequest request) {
  CO_RETURN_IF_ERROR(RequireHello());
  if (request.reply_size() > kPingReplyMax) {
    co_return absl::InvalidArgumentError(absl::StrCat("ping: reply of ", request.reply_size(), " bytes is too large"));
  }
  v1::PingResponse response;
  std::string& reply = *response.mutable_payload();
  reply.reserve(request.reply_size());
  const std::string payload = request.payload().empty() ? "p" : std::move(*request.mutable_payload());
  while (reply.size() < request.reply_size()) reply.append(payload, 0, request.reply_size() - reply.size());
  co_return response;
}

Co<absl::StatusOr<wire::Empty>> Service::CreateSandbox(ttrpc::CallContext, v1::CreateSandboxRequest request) {
  CO_RETURN_IF_ERROR(RequireHello());
  if (has_sandbox_) co_return absl::FailedPreconditionError("creating the sandbox: it exists");
  if (request.clock_realtime_ns() > 0) {
    const std::chrono::nanoseconds held(request.hello_age_ns());
    const std::chrono::nanoseconds waited = std::chrono::steady_clock::now() - hello_answered_at_;
    CO_RETURN_IF_ERROR(SetClock(HostClockNow(request.clock_realtime_ns(), held, waited)));
  }
  CO_RETURN_IF_ERROR(SetHostname(request.hostname()));
  if (request.has_pod()) {
    CO_RETURN_IF_ERROR(SetPodSysctls(request.pod()));
    if (!request.pod().is_held()) {
      CO_ASSIGN_OR_RETURN(SharedNamespaces own, SharedNamespaces::OfGuest());
      shared_ = std::make_unique<SharedNamespaces>(std::move(own));
    }
  }
  has_sandbox_ = true;
  auto mounted = co_await MountStorages(request.storages(), &uevents_, exits_);
  if (!mounted.ok()) {
    has_sandbox_ = false;  // nothing half-made: a second try starts from the same point
    co_return mounted.status();
  }
  if (request.share_files_max() != 0)
    Spawn(executor_, "share limit", KeepShareLimit(exits_, request.share_files_max()));
  co_return wire::Empty();
}

Co<absl::StatusOr<wire::Empty>> Service::SetNetwork(ttrpc::CallContext, v1::SetNetworkRequest request) {
  CO_RETURN_IF_ERROR(RequireHello());
  CO_RETURN_IF_ERROR(co_await network_.Set(std::move(request)));
  co_return wire::Empty();
}

Co<absl::Status> Service::Resolve(ttrpc::CallContext, std::shared_ptr<ResolverStream> stream) {
  CO_RETURN_IF_ERROR(RequireHello());
  auto resolver = resolver_;
  co_return co_await resolver->Serve(std::move(stream));
}

Co<absl::Status> Service::Dial(ttrpc::CallContext, std::shared_ptr<TunnelStream> stream) {
  CO_RETURN_IF_ERROR(RequireHello());
  CO_ASSIGN_OR_RETURN(v1::TunnelMessage first, co_await stream->Receive());
  if (!first.has_open()) co_return absl::InvalidArgumentError("dialling: the first message does not say where");
  CO_ASSIGN_OR_RETURN(std::shared_ptr<TunnelSocket> socket, co_await DialLoopback(executor_, first.open()));
  co_return co_await RunTunnel(std::move(socket), std::move(stream), TunnelSide::kAnswerer);
}

Co<absl::Status> Service::AcceptSocket(ttrpc::CallContext, std::shared_ptr<TunnelStream> stream) {
  CO_RETURN_IF_ERROR(RequireHello());
  auto sockets = sockets_;
  co_return co_await sockets->Serve(std::move(stream));
}

absl::StatusOr<std::unique_ptr<SharedNamespaces>> Service::NamespacesFor(const ContainerSpec& spec) const {
  if (shared_ == nullptr) return nullptr;
  ASSIGN_OR_RETURN(SharedNamespaces chosen, shared_->Copy());
  const std::string& path = spec.namespaces.pid_path;
  // All containers of a pod have the same process on the host, so its path names the pod's pids, or those of the
  // container that a debugger is for. In a pod that shares its pids no other container has some of its own.
  std::vector<std::shared_ptr<Container>> targets;
  if (path.rfind("/proc/", 0) == 0) {
    for (const auto& [id, container] : containers_) {
      if (container != first_.lock() && container->HasOwnPids()) targets.push_back(container);
    }
  }
  if (targets.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("linux.namespaces: pid at \"", path, "\": it may be that of any of ", targets.size(),
                     " containers of the pod; let them share their pids (shareProcessNamespace)"));
  }
  if (targets.size() == 1) {
    ASSIGN_OR_RETURN(SharedNamespaces target, targets[0]->OpenNamespaces());
    chosen.pid = std::move(target.pid);
  }
  return std::make_unique<SharedNamespaces>(std::move(chosen));
}

Co<absl::StatusOr<wire::Empty>> Service::SetMirror(ttrpc::CallContext, v1::SetMirrorRequest request) {
  CO_RETURN_IF_ERROR(RequireHello());
  CO_RETURN_IF_ERROR(mirrors_.Set(request));
  co_return wire::Empty();
}

Co<absl::StatusOr<v1::CreateContainerResponse>> Service::CreateContainer(ttrpc::CallContext,
                                                                         v1::CreateContainerRequest request) {
  CO_RETURN_IF_ERROR(RequireHello());
  if (!has_sandbox_) co_return absl::FailedPreconditionError("creating a container: there is no sandbox");
  const std::string id = request.container_id();
  CO_RETURN_IF_ERROR(CheckId(id));
  if (containers_.count(id) != 0) co_return absl::AlreadyExistsError(absl::StrCat("container \"", id, "\": exists"));
  if (containers_.size() + leaving_.size() >= kContainersMax) {
    co_return absl::ResourceExhaustedError(absl::StrCat("creating a container: there are ", kContainersMax));
  }
  auto pid = co_await MakeContainer(std::move(request));
  if (!pid.ok()) co_return pid.status();
  log::Debug("container \"{}\" is made, with process {}", id, *pid);
  v1::CreateContainerResponse response;
  response.set_pid(static_cast<uint32_t>(*pid));
  co_return response;
}

Co<absl::StatusOr<pid_t>> Service::MakeContainer(v1::CreateContainerRequest request) {
  const std::string id = request.container_id();
  CO_ASSIGN_OR_RETURN(ContainerSpec spec, ParseContainerSpec(request.spec_json()));
  spec.hook_state = request.hook_state();
  if (request.is_sandbox()) MakeSandboxContainer(spec, kMountPoint);
  auto container = std::make_shared<Container>(
      executor_,
      Container::Collaborators{
          .exits = exits_, .watcher = &watcher_, .parent_cgroup = kContainersCgroup, .set_up_cgroup = kSetUpCgroup},
      id);
  containers_[id] = container;
  absl::Status status = co_await FillContainer(container, std::move(request), std::move(spec));
  if (!status.ok()) {
    auto found = containers_.find(id);
    if (found != containers_.end() && found->second == container) {
      containers_.erase(found);
      sockets_->Close(id);
    }
    if (leaving_.count(container) != 0) co_return status;  // RemoveContainer sees to the rest
    ReleaseHugepages(*container);
    absl::Status undone = UnmountStoragesOf(container);
    if (container->CgroupPath().empty() && undone.ok()) co_return status;
    leaving_.insert(container);
    Spawn(executor_, "removing a container later", RemoveLater(id, container, undone.ok() ? status : undone));
    co_return status;
  }
  if (shared_ == nullptr) {
    auto opened = container->OpenNamespaces();
    if (opened.ok()) shared_ = std::make_unique<SharedNamespaces>(std::move(*opened));
    first_ = container;
  }
  co_return container->Find("")->pid;
}

// The part of making `container` that waits. It has its name already: whoever removes it meanwhile makes this fail.
Co<absl::Status> Service::FillContainer(std::shared_ptr<Container> container, v1::CreateContainerRequest request,
                                        ContainerSpec spec) {
  // Before anything that waits: afterwards the name may be another's.
  if (!request.sockets().empty()) CO_RETURN_IF_ERROR(sockets_->Open(container->id(), request.sockets()));
  if (!request.storages().empty()) {
    auto mounted = co_await MountStorages(request.storages(), &uevents_, exits_);
    if (!mounted.ok()) co_return mounted.status();
    storages_[container] = *std::move(mounted);
  }
  if (!request.block_devices().empty()) {
    auto numbered = co_await WithBlockDevices(request.block_devices(), &uevents_, std::move(spec));
    if (!numbered.ok()) co_return numbered.status();
    spec = *std::move(numbered);
  }
  CO_RETURN_IF_ERROR(CheckCharacterDevices(spec));
  CO_ASSIGN_OR_RETURN(std::unique_ptr<SharedNamespaces> namespaces, NamespacesFor(spec));
  CO_RETURN_IF_ERROR(ReserveHugepages(*container, spec.resources.hugepage_limits));
  CO_RETURN_IF_ERROR(PrepareMemoryVolumes(request));
  const StdioWanted wanted{request.has_stdin(), request.has_stdout(), request.has_stderr()};
  co_return co_await container->Create(std::move(spec), wanted, namespaces.get());
}

Co<absl::StatusOr<wire::Empty>> Service::StartContainer(ttrpc::CallContext, v1::ProcessId request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  if (!request.exec_id().empty()) co_return absl::InvalidArgumentError("starting a container: exec id given");
  has_programs_ = true;
  CO_RETURN_IF_ERROR(co_await container->Start());
  co_return wire::Empty();
}

Co<absl::StatusOr<v1::ExecResponse>> Service::Exec(ttrpc::CallContext, v1::ExecRequest request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  CO_ASSIGN_OR_RETURN(ProcessSpec spec, ParseProcessSpec(request.process_json()));
  if (request.terminal_width() != 0) spec.console_width = request.terminal_width();
  if (request.terminal_height() != 0) spec.console_height = request.terminal_height();
  const StdioWanted wanted{request.has_stdin(), request.has_stdout(), request.has_stderr()};
  std::string exec_id = request.exec_id();
  absl::StatusOr<pid_t> pid = co_await container->Exec(std::move(exec_id), std::move(spec), wanted);
  if (!pid.ok()) co_return pid.status();
  v1::ExecResponse response;
  response.set_pid(static_cast<uint32_t>(*pid));
  co_return response;
}

Co<absl::Status> Service::Stdio(ttrpc::CallContext, std::shared_ptr<StdioStream> stream) {
  CO_RETURN_IF_ERROR(RequireHello());
  absl::StatusOr<v1::StdioMessage> first = co_await stream->Receive();
  if (!first.ok()) co_return first.status();
  if (!first->has_open()) co_return absl::InvalidArgumentError("stdio: the first message is not Open");
  CO_ASSIGN_OR_RETURN(auto process, FindProcess(first->open().container_id(), first->open().exec_id()));
  auto io = process->io;
  process.reset();
  co_return co_await io->Serve(std::move(stream));
}

Co<absl::StatusOr<v1::WaitProcessResponse>> Service::WaitProcess(ttrpc::CallContext, v1::ProcessId request) {
  CO_ASSIGN_OR_RETURN(auto process, FindProcess(request.container_id(), request.exec_id()));
  co_await process->exited.Wait();
  v1::WaitProcessResponse response;
  response.set_exit_status(static_cast<uint32_t>(process->exit_status));
  response.set_exited_at_ns(process->exited_at_ns);
  response.set_oom_kills(process->oom_kills);
  co_return response;
}

Co<absl::StatusOr<wire::Empty>> Service::SignalProcess(ttrpc::CallContext, v1::SignalRequest request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  if (container->Find(request.exec_id()) == nullptr) {
    co_return absl::NotFoundError(absl::StrCat("process \"", request.exec_id(), "\": not found"));
  }
  if (request.signal() > 64)
    co_return absl::InvalidArgumentError(absl::StrCat("signal ", request.signal(), ": not known"));
  CO_RETURN_IF_ERROR(co_await container->Signal(request.exec_id(), static_cast<int>(request.signal()), request.all()));
  co_return wire::Empty();
}

Co<absl::StatusOr<wire::Empty>> Service::ResizeTerminal(ttrpc::CallContext, v1::ResizeRequest request) {
  CO_ASSIGN_OR_RETURN(auto process, FindProcess(request.container_id(), request.exec_id()));
  CO_RETURN_IF_ERROR(process->io->Resize(request.width(), request.height()));
  co_return wire::Empty();
}

Co<absl::StatusOr<v1::ListProcessesResponse>> Service::ListProcesses(ttrpc::CallContext, v1::ProcessId request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  CO_ASSIGN_OR_RETURN(std::vector<pid_t> pids, co_await container->Pids());
  v1::ListProcessesResponse response;
  for (pid_t pid : pids) response.add_pids(static_cast<uint32_t>(pid));
  co_return response;
}

Co<absl::StatusOr<wire::Empty>> Service::RemoveProcess(ttrpc::CallContext, v1::ProcessId request) {
  CO_ASSIGN_OR_RETURN(auto container, FindContainer(request.container_id()));
  CO_RETURN_IF_ERROR(container->RemoveExec(request.exec_id()));
  co_return wire::Empty();
}

Co<absl::StatusOr<wire::Empty>> Service::RemoveContainer(ttrpc::CallContext, v1::ProcessId request) {
  CO_RETURN_IF_ERROR(RequireHello());
  const std::string& id = request.container_id();
  auto found = containers_.find(id);
  if (found == containers_.end()) co_return CheckStoragesAreFree(id);
  auto container = found->second;
  // Its name is free at once, whatever of it does not end.
  containers_.erase(found);
  sockets_->Close(id);
  leaving_.insert(container);
  absl::Status status = co_await RemoveAll(container);
  if (status.ok()) {
    leaving_.erase(container);
    co_return wire::Empty();
  }
  Spawn(executor_, "removing a container later", RemoveLater(id, container, status));
  co_return status;
}

Co<absl::Status> Service::RemoveAll(std::shared_ptr<Container> container) {
  CO_RETURN_IF_ERROR(co_await container->Remove());
  ReleaseHugepages(*container);
  co_return UnmountStoragesOf(container);
}

absl::Status Service::UnmountStoragesOf(const std::shared_ptr<Container>& container) {
  auto found = storages_.find(container);
  if (found == storages_.end()) return absl::OkStatus();
  RETURN_IF_ERROR(UnmountStorages(found->second));
  storages_.erase(found);
  return absl::OkStatus();
}

absl::StatusOr<wire::Empty> Service::CheckStoragesAreFree(const std::string& id) const {
  for (const auto& [container, mount_points] : storages_) {
    if (container->id() == id) {
      return absl::FailedPreconditionError(
          absl::StrCat("removing container \"", id, "\": its storages are still in use"));
    }
  }
  return wire::Empty();
}

Co<absl::Status> Service::RemoveLater(std::string id, std::shared_ptr<Container> container, absl::Status status) {
  log::Warn("{}; what is left of \"{}\" is removed when it has ended", std::string(status.message()), id);
  while (!status.ok()) {
    co_await Sleep(kRemovalPause);
    status = co_await RemoveAll(container);
  }
  leaving_.erase(container);
  log::Info("what was left of container \"{}\" has ended", id);
  co_return status;
}

Co<absl::StatusOr<wire::Empty>> Service::Shutdown(ttrpc::CallContext, wire::Empty) {
  CO_RETURN_IF_ERROR(RequireHello());
  log::Info("powering off at the host's request");
  Spawn(executor_, "power off", PowerOffSoon());
  co_return wire::Empty();
}

}  // namespace kata::agent
