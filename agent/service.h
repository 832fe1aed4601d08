// SPDX-License-Identifier: Apache-2.0
// kata.agent.v1.Agent: the sandbox's state and its calls. One instance for the life of the guest,
// served by one connection at a time; Hello is needed again on each. Io thread only.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "agent/base/paths.h"
#include "agent/cgroup/hugepages.h"
#include "agent/container/container.h"
#include "agent/machine_size.h"
#include "agent/network/guest_network.h"
#include "agent/network/host_sockets.h"
#include "agent/network/resolver.h"
#include "agent/process/exit_table.h"
#include "agent/storage/mirrors.h"
#include "agent/storage/uevents.h"
#include "proto/schema/agent.ttrpc.h"
#include "proto/tunnel/tunnel.h"

namespace kata::agent {

// Versions of the protocol that this agent speaks. 1 counted credit in bytes alone.
inline constexpr uint32_t kAgentProtocolVersion = 2;
inline constexpr uint32_t kAgentProtocolVersionMin = 2;
inline constexpr size_t kContainersMax = 1024;
inline constexpr size_t kPingReplyMax = 3u << 20;
inline constexpr size_t kIdSizeMax = 255;

// A name that may become a cgroup directory.
absl::Status CheckId(const std::string& id);

class Service : public v1::AgentService {
 public:
  // `token_sha256` is asked at each Hello, since a machine that was cloned has another than the one it booted with;
  // empty: the Hello is refused.
  Service(asio::any_io_executor executor, ExitTable* exits, std::function<std::string()> token_sha256);

  absl::Status Start() { return uevents_.Start(); }

  // A new connection begins: it has to prove the token first.
  void ConnectionStarts() { has_said_hello_ = false; }

  Co<absl::StatusOr<v1::HelloResponse>> Hello(ttrpc::CallContext, v1::HelloRequest request) override;
  Co<absl::StatusOr<v1::PingResponse>> Ping(ttrpc::CallContext, v1::PingRequest request) override;
  Co<absl::StatusOr<wire::Empty>> Rekey(ttrpc::CallContext, v1::RekeyRequest request) override;
  Co<absl::StatusOr<v1::SyncClockResponse>> SyncClock(ttrpc::CallContext, v1::SyncClockRequest request) override;
  Co<absl::StatusOr<wire::Empty>> CreateSandbox(ttrpc::CallContext, v1::CreateSandboxRequest request) override;
  Co<absl::StatusOr<wire::Empty>> SetNetwork(ttrpc::CallContext, v1::SetNetworkRequest request) override;
  Co<absl::StatusOr<v1::ResizeMachineResponse>> Resize(ttrpc::CallContext, v1::ResizeMachineRequest request) override;
  Co<absl::Status> Resolve(ttrpc::CallContext, std::shared_ptr<ResolverStream> stream) override;
  Co<absl::Status> Dial(ttrpc::CallContext, std::shared_ptr<TunnelStream> stream) override;
  Co<absl::Status> AcceptSocket(ttrpc::CallContext, std::shared_ptr<TunnelStream> stream) override;
  Co<absl::StatusOr<wire::Empty>> SetMirror(ttrpc::CallContext, v1::SetMirrorRequest request) override;
  Co<absl::StatusOr<v1::CreateContainerResponse>> CreateContainer(ttrpc::CallContext,
                                                                  v1::CreateContainerRequest request) override;
  Co<absl::StatusOr<wire::Empty>> StartContainer(ttrpc::CallContext, v1::ProcessId request) override;
  Co<absl::StatusOr<v1::ExecResponse>> Exec(ttrpc::CallContext, v1::ExecRequest request) override;
  Co<absl::Status> Stdio(ttrpc::CallContext, std::shared_ptr<StdioStream> stream) override;
  Co<absl::StatusOr<v1::WaitProcessResponse>> WaitProcess(ttrpc::CallContext, v1::ProcessId request) override;
  Co<absl::StatusOr<wire::Empty>> SignalProcess(ttrpc::CallContext, v1::SignalRequest request) override;
  Co<absl::StatusOr<wire::Empty>> ResizeTerminal(ttrpc::CallContext, v1::ResizeRequest request) override;
  Co<absl::StatusOr<v1::ListProcessesResponse>> ListProcesses(ttrpc::CallContext, v1::ProcessId request) override;
  Co<absl::StatusOr<wire::Empty>> PauseContainer(ttrpc::CallContext, v1::ProcessId request) override;
  Co<absl::StatusOr<wire::Empty>> ResumeContainer(ttrpc::CallContext, v1::ProcessId request) override;
  Co<absl::StatusOr<wire::Empty>> UpdateContainer(ttrpc::CallContext, v1::UpdateContainerRequest request) override;
  Co<absl::StatusOr<v1::StatsContainerResponse>> StatsContainer(ttrpc::CallContext, v1::ProcessId request) override;
  Co<absl::StatusOr<v1::WaitOomResponse>> WaitOom(ttrpc::CallContext, v1::WaitOomRequest request) override;
  Co<absl::StatusOr<wire::Empty>> RemoveProcess(ttrpc::CallContext, v1::ProcessId request) override;
  Co<absl::StatusOr<wire::Empty>> RemoveContainer(ttrpc::CallContext, v1::ProcessId request) override;
  Co<absl::StatusOr<wire::Empty>> Shutdown(ttrpc::CallContext, wire::Empty request) override;

 private:
  absl::Status RequireHello() const;
  Co<absl::StatusOr<pid_t>> MakeContainer(v1::CreateContainerRequest request);
  Co<absl::Status> FillContainer(std::shared_ptr<Container> container, v1::CreateContainerRequest request,
                                 ContainerSpec spec);
  Co<absl::Status> RemoveAll(std::shared_ptr<Container> container);
  Co<absl::Status> RemoveLater(std::string id, std::shared_ptr<Container> container, absl::Status status);
  // The guest keeps them for the container, and all containers have so much less of other memory.
  absl::Status ReserveHugepages(const Container& container, const std::vector<HugepageLimit>& limits);
  void ReleaseHugepages(const Container& container);
  absl::Status UnmountStoragesOf(const std::shared_ptr<Container>& container);
  // For the removal of a container that is not known any more, or never was.
  absl::StatusOr<wire::Empty> CheckStoragesAreFree(const std::string& id) const;
  absl::StatusOr<std::shared_ptr<Container>> FindContainer(const std::string& id) const;
  absl::StatusOr<std::shared_ptr<Process>> FindProcess(const std::string& id, const std::string& exec_id) const;

  // What the paths among a new container's namespaces mean; null for the sandbox's first container.
  absl::StatusOr<std::unique_ptr<SharedNamespaces>> NamespacesFor(const ContainerSpec& spec) const;

  asio::any_io_executor executor_;
  ExitTable* exits_;
  FileWatcher watcher_;
  Uevents uevents_;
  MachineSize size_;
  Hugepages hugepages_;
  GuestNetwork network_;
  std::shared_ptr<Resolver> resolver_;
  std::shared_ptr<HostSockets> sockets_;
  Mirrors mirrors_{kMirrors};
  std::function<std::string()> token_sha256_;
  bool has_said_hello_ = false;
  std::chrono::steady_clock::time_point hello_answered_at_;
  bool has_sandbox_ = false;
  bool has_programs_ = false;  // some container was told to start
  std::map<std::string, std::shared_ptr<Container>> containers_;
  // Being removed: no longer known by their names. Those whose processes do not end stay here; with
  // the others they are at most kContainersMax.
  std::set<std::shared_ptr<Container>> leaving_;
  // Mount points of those that have storages of their own, until these are unmounted.
  std::map<std::shared_ptr<Container>, std::vector<std::string>> storages_;
  std::unique_ptr<SharedNamespaces> shared_;  // the pod's: those of its first container, or the guest's own
  std::weak_ptr<Container> first_;            // that they are of
};

}  // namespace kata::agent
