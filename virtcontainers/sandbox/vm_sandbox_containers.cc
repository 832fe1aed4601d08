// SPDX-License-Identifier: Apache-2.0
// The containers of a sandbox: made, known, removed.
#include "virtcontainers/sandbox/vm_sandbox_impl.h"

#include <absl/strings/str_replace.h>
#include <nlohmann/json.hpp>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "proto/base/timeline.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/container/late_calls.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox/guest_setup.h"
#include "virtcontainers/sandbox/oom_score.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

constexpr char kStartHooksFeature[] = "start-hooks";
constexpr char kSandboxFeature[] = "sandbox-container";
constexpr char kBlockDevicesFeature[] = "block-devices";
constexpr char kImageLayersFeature[] = "image-layers";
constexpr char kHostSocketsFeature[] = "host-sockets";
constexpr char kMirrorsFeature[] = "mirrors";
constexpr std::chrono::seconds kRemoveTimeout{2};
// For what a guest has not written to its disks yet.
constexpr std::chrono::seconds kFlushTimeout{20};
constexpr std::chrono::seconds kEndTimeout{5};  // of a machine whose agent's connection has ended

// The guest knows disks by their serials only.
absl::Status WithDisksNamed(const absl::Status& status, const std::vector<ContainerDisk>& disks) {
  std::string message(status.message());
  for (const ContainerDisk& disk : disks) {
    absl::StrReplaceAll({{absl::StrCat("\"", disk.serial, "\""), absl::StrCat("\"", disk.source, "\"")}}, &message);
  }
  return absl::Status(status.code(), message);
}

}  // namespace

Co<absl::StatusOr<std::shared_ptr<Container>>> VmSandbox::CreateContainer(ContainerOptions options) {
  auto self = shared_from_this();
  if (!IsValidId(options.id))
    co_return absl::InvalidArgumentError(absl::StrCat("\"", options.id, "\" is no container id"));
  if (containers_.contains(options.id) || !creating_.insert(options.id).second) {
    co_return absl::AlreadyExistsError(absl::StrCat("container \"", options.id, "\" exists already"));
  }
  const std::string id = options.id;
  auto host = std::make_shared<ContainerMounts>();
  host->sandbox_id = options_.id;
  host->options = std::move(options);
  host->host_namespaces = HostNamespaceRulesOf(options_.config);
  host->uses_disks = !options_.config.disable_block_device_use;
  host->rootfs_writes = options_.config.rootfs_writes;
  host->scratch_directory = options_.config.rootfs_disk_path;
  host->scratch_mib = options_.config.rootfs_disk_size;
  host->socket_rules = {options_.config.shared_sockets, options_.config.file};
  auto made = co_await MakeContainer(host);
  if (!made.ok()) {
    if (!host->disks.empty()) co_await RemoveWithDisks(id);
    std::function<absl::Status()> undo = [host] { return UndoContainer(*host); };
    absl::Status undone = co_await RunBlocking(pool_, std::move(undo));
    if (!undone.ok()) log::Warn("undoing a failed create: {}", undone.message());
    creating_.erase(id);
    mirrors_->Remove(id);
    size_->Forget(id);
    WakeRelease();
    co_return made.status();
  }
  creating_.erase(id);
  WakeRelease();
  Entry entry;
  entry.container = *made;
  entry.host = *host;
  containers_[id] = std::move(entry);
  timeline::Step("container created");
  co_return std::shared_ptr<Container>(*made);
}

std::shared_ptr<Container> VmSandbox::FindContainer(const std::string& id) const {
  auto at = containers_.find(id);
  return at != containers_.end() ? at->second.container : nullptr;
}

Co<absl::Status> VmSandbox::DeleteContainer(std::string id) {
  auto self = shared_from_this();
  auto at = containers_.find(id);
  if (at == containers_.end()) co_return absl::NotFoundError(absl::StrCat("container \"", id, "\" is not here"));
  std::shared_ptr<GuestContainer> container = at->second.container;
  if (container->init()->state() == ProcessState::kRunning) {
    co_return absl::FailedPreconditionError(absl::StrCat("deleting container \"", id, "\": it is running"));
  }
  auto host = std::make_shared<ContainerMounts>(at->second.host);
  sockets_->Remove(id);
  mirrors_->Remove(id);
  co_await RemoveContainer(container, !host->disks.empty());
  std::function<absl::Status()> undo = [host] { return UndoContainer(*host); };
  absl::Status status = co_await RunBlocking(pool_, std::move(undo));
  if (status.ok()) containers_.erase(id);  // else a second try has something to undo
  size_->Forget(id);
  co_return status;
}

Co<absl::StatusOr<std::shared_ptr<GuestContainer>>> VmSandbox::MakeContainer(std::shared_ptr<ContainerMounts> host) {
  co_await share_ready_.Wait();
  if (state_ != State::kBooting && state_ != State::kRunning) co_return NotRunning();
  host->share = share_->mounts();
  host->volumes = share_->volumes();
  host->mirrors = mirrors_;
  if (options_.pod.has_value()) host->pod_etc_directory = options_.pod->etc_directory;
  host->is_pod = options_.pod.has_value();
  co_await FindLayers(host);
  std::function<absl::Status()> prepare = [host] { return PrepareContainer(*host); };
  absl::Status prepared = co_await RunBlocking(pool_, std::move(prepare));
  if (!prepared.ok()) co_return prepared;
  co_await settled_.Wait();
  if (state_ != State::kRunning) co_return NotRunning();
  absl::Status named = CheckProcessNamespaces(host->process_namespaces);
  if (!named.ok()) co_return named;
  absl::Status able = CheckFeatures(*host);
  if (!able.ok()) co_return able;
  absl::Status attached = co_await AttachDisks(host);
  if (!attached.ok()) co_return attached;
  absl::Status filled = co_await mirrors_->Fill(connection_, host->options.id);
  if (!filled.ok()) co_return filled;
  if (state_ != State::kRunning) co_return NotRunning();
  auto container = std::make_shared<GuestContainer>(executor_, connection_, host->options);
  agent::v1::CreateContainerRequest request = MakeContainerRequest(*host);
  const std::chrono::seconds timeout(options_.config.create_container_timeout);
  // One that has ended uses nothing, though its caller may keep it for long.
  for (const auto& [id, entry] : containers_) {
    if (entry.container->init()->state() == ProcessState::kStopped) size_->Forget(id);
  }
  std::function<Co<absl::Status>()> create = [connection = connection_, request = std::move(request), timeout] {
    return CreateInGuest(connection, request, timeout);
  };
  // A sandbox container uses next to nothing, whatever its limits are.
  absl::Status made;
  if (host->options.is_sandbox) {
    made = co_await create();
  } else {
    made = co_await size_->Change(host->options.id, host->limits, std::move(create));
  }
  // Its connection hears of the machine's end first, and says less.
  if (!made.ok() && connection_->is_closed()) co_await stopped_.WaitFor(kEndTimeout);
  if (state_ != State::kRunning) co_return NotRunning();
  if (!made.ok()) co_return WithDisksNamed(made, host->disks);
  if (host->oom_score.has_value()) co_await RaiseScore(*host->oom_score);
  container->OnNeighboursAsked([weak = weak_from_this(), id = host->options.id] {
    auto self = weak.lock();
    return self != nullptr && self->OthersLive(id);
  });
  if (!host->options.is_sandbox) {
    container->OnUpdate([size = size_, id = host->options.id](std::string resources, auto apply) {
      const Json document = Json::parse(resources, nullptr, /*allow_exceptions=*/false);
      return size->Change(id, UpdatedLimits(size->LimitsOf(id), document), std::move(apply));
    });
  }
  container->OnStart([network = network_] { return network->CatchUp(); });
  container->AllowForStart(host->hooks->GuestTime());
  if (host->hooks->HasStarted()) {
    container->OnStarted([&pool = pool_, hooks = host->hooks, hypervisor = hypervisor_] {
      return RunBlocking(pool, [hooks, pid = hypervisor->Pid()] { return hooks->Started(pid); });
    });
  }
  container->Watch();
  absl::Status hooked = co_await RunCreateHooks(host);
  if (hooked.ok() && state_ != State::kRunning) hooked = NotRunning();
  if (!hooked.ok()) {
    co_await RemoveContainer(container, !host->disks.empty());
    co_return hooked;
  }
  ServeSockets(*host);
  co_return container;
}

Co<void> VmSandbox::FindLayers(std::shared_ptr<ContainerMounts> host) {
  if (!host->uses_disks || host->options.is_sandbox || !MayBeLayers(host->options.rootfs)) co_return;
  std::function<absl::Status()> find = [host] {
    host->layers = FindImageLayers(host->options.rootfs);
    return absl::OkStatus();
  };
  absl::Status looked = co_await RunBlocking(pool_, std::move(find));
  if (!looked.ok() || !host->layers.has_value()) co_return;
  // What the guest can do, only it can say; all else the host prepares meanwhile.
  co_await settled_.Wait();
  if (!features_.contains(kImageLayersFeature)) host->layers.reset();
}

void VmSandbox::ServeSockets(const ContainerMounts& host) {
  std::vector<std::string> paths;
  for (const HostSocket& socket : host.sockets) paths.push_back(socket.path);
  if (!paths.empty()) sockets_->Add(connection_, host.options.id, std::move(paths));
}

Co<void> VmSandbox::RaiseScore(int score) {
  std::vector<pid_t> pids = DaemonPids();
  pids.push_back(hypervisor_->Pid());
  std::function<absl::Status()> raise = [pids, score] { return RaiseOomScore(pids, score); };
  absl::Status raised = co_await RunBlocking(pool_, std::move(raise));
  if (!raised.ok()) log::Warn("{}", raised.message());
}

Co<absl::Status> VmSandbox::AttachDisks(std::shared_ptr<ContainerMounts> host) {
  for (ContainerDisk& disk : host->disks) {
    auto serial = co_await devices_->AttachDisk(host->options.id, disk.file);
    if (!serial.ok())
      co_return Annotate(serial.status(), absl::StrCat("giving the machine disk \"", disk.source, "\""));
    disk.serial = *std::move(serial);
    disk.file = DiskFile();  // the devices have it
  }
  co_return absl::OkStatus();
}

Co<void> VmSandbox::RemoveWithDisks(std::string id) {
  auto self = shared_from_this();
  absl::Status gone;
  if (state_ == State::kRunning) gone = co_await RemoveInGuest(id, kFlushTimeout);
  // A SCSI disk is taken out without asking the guest, which may have it mounted still.
  if (gone.ok() && state_ == State::kRunning) gone = co_await devices_->DetachAllOf(id);
  if (state_ != State::kRunning) {
    devices_->ForgetAllOf(id);
  } else if (!gone.ok()) {
    log::Warn("disks of container \"{}\" stay with the machine: {}", id, gone.message());
  }
}

Co<void> VmSandbox::LetGoOfDisks() {
  std::vector<std::string> ids;
  for (const auto& [id, entry] : containers_) {
    if (HasKeptDisks(entry.host.disks)) ids.push_back(id);
  }
  const auto until = std::chrono::steady_clock::now() + kFlushTimeout;
  for (const std::string& id : ids) {
    const auto left = until - std::chrono::steady_clock::now();
    if (state_ != State::kRunning || left <= std::chrono::nanoseconds(0)) break;
    absl::Status gone = co_await RemoveInGuest(id, left);
    if (!gone.ok())
      log::Warn("what was not written yet to the disks of container \"{}\" is lost: {}", id, gone.message());
  }
}

Co<absl::Status> VmSandbox::RunCreateHooks(std::shared_ptr<ContainerMounts> host) {
  if (!host->hooks->HasCreated()) co_return absl::OkStatus();
  std::function<absl::Status()> job = [hooks = host->hooks, pid = hypervisor_->Pid(), network = network_] {
    return hooks->Created(pid, network->fd());
  };
  co_return co_await RunBlocking(pool_, std::move(job));
}

Co<absl::Status> VmSandbox::RemoveInGuest(std::string id, std::chrono::nanoseconds timeout) {
  agent::v1::AgentClient client(connection_);
  agent::v1::ProcessId request;
  request.set_container_id(id);
  auto response = co_await client.RemoveContainer(std::move(request), timeout);
  co_return Annotate(response.status(), absl::StrCat("removing container \"", id, "\" in the guest"));
}

Co<void> VmSandbox::RemoveContainer(std::shared_ptr<GuestContainer> container, bool has_disks) {
  const std::string id = container->id();
  if (has_disks) {
    co_await RemoveWithDisks(id);
  } else if (state_ == State::kRunning) {
    absl::Status gone = co_await RemoveInGuest(id, kRemoveTimeout);
    if (!gone.ok()) log::Warn("{}", gone.message());
  }
  container->StopAll(kVmDiedStatus);
}

bool VmSandbox::OthersLive(const std::string& id) const {
  for (const std::string& other : creating_) {
    if (other != id) return true;
  }
  for (const auto& [other, entry] : containers_) {
    if (other != id && entry.container->init()->state() != ProcessState::kStopped) return true;
  }
  return false;
}

absl::Status VmSandbox::CheckProcessNamespaces(const std::vector<GuestSpec::ProcessNamespace>& names) const {
  for (const GuestSpec::ProcessNamespace& name : names) {
    if (name.pid == hypervisor_->Pid() && (options_.pod.has_value() || !containers_.empty())) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("linux.namespaces: ", name.type, " at \"", name.path,
                     "\": that process is of no container of this pod; only containers of one pod share namespaces"));
  }
  return absl::OkStatus();
}

absl::Status VmSandbox::CheckFeatures(const ContainerMounts& host) const {
  const auto too_old = [](absl::string_view what) {
    return absl::FailedPreconditionError(absl::StrCat(what, ": the agent in the guest's image is too old for it"));
  };
  if (!host.hooks->GuestState().empty() && !features_.contains(kStartHooksFeature))
    return too_old("hooks.startContainer");
  if (!host.sockets.empty() && !features_.contains(kHostSocketsFeature))
    return too_old(absl::StrCat("sharing socket \"", host.sockets[0].path, "\""));
  if (mirrors_->Has(host.options.id) && !features_.contains(kMirrorsFeature))
    return too_old("a volume of the kubelet's");
  if (host.options.is_sandbox && !features_.contains(kSandboxFeature)) return too_old("a sandbox container");
  if (!host.disks.empty() && !features_.contains(kBlockDevicesFeature)) return too_old("a disk");
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
