// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/agent_client/channel.h"

#include <sys/random.h>

#include <absl/strings/ascii.h>
#include <absl/strings/escaping.h>
#include <absl/strings/str_replace.h>

#include "hypervisors/accelerator/run_clock.h"
#include "proto/base/sha256.h"
#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kTokenSize = 32;
constexpr size_t kConsoleInError = 600;
constexpr std::chrono::milliseconds kLateBootPoll{500};
// A machine without a CPU for most of the time gets so many times the limit.
constexpr int kBusyFactorMax = 8;

Co<absl::Status> CloseWhenStopped(std::shared_ptr<hypervisors::Hypervisor> hypervisor,
                                  std::weak_ptr<ttrpc::Connection> weak) {
  co_await hypervisor->WaitStopped();
  if (auto connection = weak.lock()) connection->Close(absl::UnavailableError("the virtual machine has stopped"));
  co_return absl::OkStatus();
}

// The machine may have to share the host's CPUs with many that start at the same time.
Co<absl::Status> EndLateBoot(std::weak_ptr<ttrpc::Connection> weak, pid_t machine, std::shared_ptr<Latch> answered,
                             std::chrono::seconds timeout) {
  const hypervisors::RunClock clock(machine);
  bool is_answered = co_await answered->WaitFor(kLateBootPoll);
  while (!is_answered) {
    if (clock.Elapsed() >= timeout) {
      if (auto connection = weak.lock())
        connection->Close(
            absl::DeadlineExceededError(absl::StrCat("no answer in ", timeout.count(), " s (dial_timeout)")));
      break;
    }
    is_answered = co_await answered->WaitFor(kLateBootPoll);
  }
  co_return absl::OkStatus();
}

absl::Status WithConsole(const absl::Status& status, const hypervisors::Hypervisor& hypervisor) {
  std::string console = hypervisor.ConsoleTail(kConsoleInError);
  console = absl::StrReplaceAll(console, {{"\n", " | "}});
  if (console.empty()) console = "nothing";
  return absl::Status(status.code(), absl::StrCat("waiting for the agent in the guest: ", status.message(),
                                                  "; the guest's console ends with: ", console));
}

absl::StatusOr<AgentPeer> ReadPeer(const agent::v1::HelloResponse& response) {
  AgentPeer peer;
  peer.version = response.version();
  if (peer.version < kAgentProtocolVersionMin || peer.version > kAgentProtocolVersion) {
    return absl::FailedPreconditionError(absl::StrCat("talking to the agent: it speaks version ", peer.version,
                                                      ", this shim ", kAgentProtocolVersionMin, " to ",
                                                      kAgentProtocolVersion, "; rebuild the guest with tools/build"));
  }
  if (response.features_size() > kAgentFeaturesMax)
    return absl::InternalError(absl::StrCat("talking to the agent: it names ", response.features_size(), " features"));
  for (const std::string& feature : response.features()) {
    if (feature.size() <= kAgentFeatureSizeMax) peer.features.insert(feature);
  }
  for (const char c : response.kernel_release().substr(0, kKernelReleaseSizeMax))
    peer.kernel_release += absl::ascii_isgraph(static_cast<unsigned char>(c)) ? c : '?';
  return peer;
}

}  // namespace

absl::StatusOr<BootToken> MakeBootToken() {
  BootToken token;
  token.secret.resize(kTokenSize);
  if (::getrandom(token.secret.data(), kTokenSize, 0) != static_cast<ssize_t>(kTokenSize)) {
    return ErrnoStatus(errno, "making the boot token");
  }
  token.sha256_hex = Sha256Hex(token.secret);
  return token;
}

Co<absl::StatusOr<AgentPeer>> ConnectAgent(std::shared_ptr<hypervisors::Hypervisor> hypervisor, BootToken token,
                                           std::chrono::seconds timeout, size_t frame_max) {
  auto executor = co_await asio::this_coro::executor;
  auto transport = co_await hypervisor->ConnectAgent(timeout);
  if (!transport.ok()) co_return WithConsole(transport.status(), *hypervisor);
  auto connection = ttrpc::Connection::Start(executor, *std::move(transport), nullptr, frame_max);
  Spawn(executor, "watching the machine", CloseWhenStopped(hypervisor, connection));
  agent::v1::AgentClient client(connection);
  agent::v1::HelloRequest request;
  request.set_version(kAgentProtocolVersion);
  request.set_version_min(kAgentProtocolVersionMin);
  request.set_token(token.secret);
  auto answered = std::make_shared<Latch>(executor);
  Spawn(executor, "watching a boot", EndLateBoot(connection, hypervisor->Pid(), answered, timeout));
  const std::chrono::seconds longest = kBusyFactorMax * timeout;
  auto response = co_await client.Hello(std::move(request), longest);
  const auto answered_at = std::chrono::steady_clock::now();
  answered->Set();
  if (!response.ok()) {
    connection->Close(absl::CancelledError("the agent did not answer"));
    co_return WithConsole(response.status(), *hypervisor);
  }
  auto peer = ReadPeer(*response);
  if (!peer.ok()) {
    connection->Close(absl::CancelledError("nothing in common"));
    co_return peer.status();
  }
  peer->connection = std::move(connection);
  peer->answered_at = answered_at;
  co_return std::move(peer);
}

}  // namespace kata::virtcontainers
