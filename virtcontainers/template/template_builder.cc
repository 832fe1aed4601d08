// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/template/template_builder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "proto/base/log.h"
#include "proto/base/status.h"
#include "virtcontainers/agent_client/channel.h"
#include "virtcontainers/agent_client/rekey.h"
#include "virtcontainers/network/network_namespace.h"
#include "virtcontainers/paths.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kKeyInName = 16;
constexpr std::chrono::seconds kCleanUpTimeout{5};

using Machine = std::shared_ptr<hypervisors::Hypervisor>;
using Use = std::function<Co<absl::Status>(Machine machine, AgentPeer peer)>;

std::string MachineName(const std::string& key) { return absl::StrCat("template-", key.substr(0, kKeyInName)); }

absl::Status PrepareDirectory(const std::string& name, const std::string& directory) {
  RETURN_IF_ERROR(hypervisors::CleanUpMachine(name, directory, kCleanUpTimeout));
  RETURN_IF_ERROR(MakeDirs(directory, 0711));
  for (const std::string& path : {directory.substr(0, directory.rfind('/')), directory}) {
    if (::chmod(path.c_str(), 0711) != 0) return ErrnoStatus(errno, absl::StrCat("opening up \"", path, "\""));
  }
  return absl::OkStatus();
}

Co<absl::Status> StartAndUse(Machine machine, hypervisors::VmSpec spec, uint32_t dial_timeout, Use use) {
  CO_ASSIGN_OR_RETURN(BootToken token, MakeBootToken());
  spec.guest_words[kTokenWord] = token.sha256_hex;
  CO_ASSIGN_OR_RETURN(const std::shared_ptr<const NetworkNamespace> network, NetworkNamespace::Open(""));
  absl::Status started = co_await machine->Start(std::move(spec), network->fd());
  if (!started.ok()) co_return started;
  auto peer = co_await ConnectAgent(machine, std::move(token), std::chrono::seconds(dial_timeout));
  if (!peer.ok()) co_return peer.status();
  absl::Status used = co_await use(machine, *peer);
  peer->connection->Close(absl::CancelledError("it is not needed any more"));
  co_return used;
}

Co<absl::Status> WithMachine(TemplateRequest request, std::string key, Use use) {
  auto executor = co_await asio::this_coro::executor;
  hypervisors::VmSpec& spec = request.spec;
  spec.name = MachineName(key);
  spec.runtime_dir = RuntimeDirectory(spec.name);
  CO_RETURN_IF_ERROR(PrepareDirectory(spec.name, spec.runtime_dir));
  const std::string directory = spec.runtime_dir;
  Machine machine = hypervisors::MakeLibvirtHypervisor(executor);
  absl::Status status = co_await StartAndUse(machine, std::move(spec), request.dial_timeout, std::move(use));
  absl::Status stopped = co_await machine->Stop();
  if (status.ok()) status = stopped;
  std::error_code ec;
  std::filesystem::remove_all(directory, ec);
  if (ec) log::Warn("removing \"{}\": {}", directory, ec.message());
  co_return status;
}

Co<absl::Status> Save(Machine machine, AgentPeer peer, std::string directory) {
  if (!peer.features.contains(kCloneFeature))
    co_return absl::UnimplementedError(
        "the agent in the guest's image is too old to be cloned; rebuild it with tools/build");
  // Its clones begin with an agent that nobody is connected to.
  peer.connection->Close(absl::CancelledError("the machine is saved"));
  co_return co_await machine->Save(std::move(directory));
}

Co<absl::Status> Try(Machine machine, AgentPeer peer) {
  if (!machine->IsClone()) co_return absl::InternalError("a machine did not go on from it");
  co_return co_await Rekey(peer.connection);
}

}  // namespace

void CleanUpAfterKilled(const TemplateStore& store, const std::string& key) {
  for (const std::string& other : store.Unfinished()) {
    if (other == key) continue;  // it is begun anew
    const auto lock = store.Lock(other);
    if (!lock.ok()) continue;  // being made
    const std::string directory = RuntimeDirectory(MachineName(other));
    absl::Status status = hypervisors::CleanUpMachine(MachineName(other), directory, kCleanUpTimeout);
    std::error_code ec;
    std::filesystem::remove_all(directory, ec);
    // The mark goes last, or a second kill would hide what is left.
    if (status.ok()) store.GiveUp(other, "the process that made it was killed");
    if (!status.ok()) log::Warn("cleaning up after one that made a template: {}", status.message());
  }
}

Co<absl::Status> BootAndSave(TemplateRequest request, std::string key, std::string directory) {
  Use use = [directory](Machine machine, AgentPeer peer) { return Save(machine, std::move(peer), directory); };
  co_return co_await WithMachine(std::move(request), std::move(key), std::move(use));
}

Co<absl::Status> TryTemplate(TemplateRequest request, std::string key, std::string directory) {
  request.spec.saved_state = directory;
  Use use = [](Machine machine, AgentPeer peer) { return Try(machine, std::move(peer)); };
  co_return co_await WithMachine(std::move(request), std::move(key), std::move(use));
}

}  // namespace kata::virtcontainers
