// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/agent_channel.h"

#include <nettle/sha2.h>
#include <sys/random.h>

#include <absl/strings/escaping.h>
#include <absl/strings/str_replace.h>

#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kTokenSize = 32;
constexpr size_t kConsoleInError = 600;

Co<absl::Status> CloseWhenStopped(std::shared_ptr<hypervisors::Hypervisor> hypervisor,
                                  std::weak_ptr<ttrpc::Connection> weak) {
  co_await hypervisor->WaitStopped();
  if (auto connection = weak.lock())
    connection->Close(absl::UnavailableError("the virtual machine has stopped"));
  co_return absl::OkStatus();
}

absl::Status WithConsole(const absl::Status& status, const hypervisors::Hypervisor& hypervisor) {
  std::string console = hypervisor.ConsoleTail(kConsoleInError);
  console = absl::StrReplaceAll(console, {{"\n", " | "}});
  if (console.empty()) console = "nothing";
  return absl::Status(status.code(),
                      absl::StrCat("waiting for the agent in the guest: ", status.message(),
                                   "; the guest's console ends with: ", console));
}

}  // namespace

absl::StatusOr<BootToken> MakeBootToken() {
  BootToken token;
  token.secret.resize(kTokenSize);
  if (::getrandom(token.secret.data(), kTokenSize, 0) != static_cast<ssize_t>(kTokenSize)) {
    return ErrnoStatus(errno, "making the boot token");
  }
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, token.secret.size(),
                reinterpret_cast<const uint8_t*>(token.secret.data()));
  uint8_t digest[SHA256_DIGEST_SIZE];
  sha256_digest(&context, sizeof(digest), digest);
  token.sha256_hex = absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
  return token;
}

Co<absl::StatusOr<std::shared_ptr<ttrpc::Connection>>> ConnectAgent(
    std::shared_ptr<hypervisors::Hypervisor> hypervisor, BootToken token,
    std::chrono::seconds timeout) {
  auto executor = co_await asio::this_coro::executor;
  auto transport = co_await hypervisor->ConnectAgent(timeout);
  if (!transport.ok()) co_return WithConsole(transport.status(), *hypervisor);
  auto connection = ttrpc::Connection::Start(executor, *std::move(transport), nullptr);
  Spawn(executor, "watching the machine", CloseWhenStopped(hypervisor, connection));
  agent::v1::AgentClient client(connection);
  agent::v1::HelloRequest request;
  request.set_version(kAgentProtocolVersion);
  request.set_token(token.secret);
  auto response = co_await client.Hello(std::move(request), timeout);
  if (!response.ok()) {
    connection->Close(absl::CancelledError("the agent did not answer"));
    co_return WithConsole(response.status(), *hypervisor);
  }
  if (response->version() != kAgentProtocolVersion) {
    connection->Close(absl::CancelledError("wrong version"));
    co_return absl::FailedPreconditionError(absl::StrCat(
        "talking to the agent: it speaks version ", response->version(), ", this shim ",
        kAgentProtocolVersion, "; rebuild the guest with tools/build"));
  }
  co_return connection;
}

}  // namespace kata::virtcontainers
