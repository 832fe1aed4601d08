// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/agent_client/rekey.h"

#include <sys/random.h>

#include <cerrno>
#include <string>

#include "proto/base/status.h"
#include "proto/schema/agent.ttrpc.h"

namespace kata::virtcontainers {
namespace {

constexpr size_t kEntropySize = 64;
constexpr std::chrono::seconds kTimeout{10};

}  // namespace

Co<absl::Status> Rekey(std::shared_ptr<ttrpc::Connection> connection) {
  agent::v1::RekeyRequest request;
  std::string entropy(kEntropySize, '\0');
  if (::getrandom(entropy.data(), entropy.size(), 0) != static_cast<ssize_t>(entropy.size()))
    co_return ErrnoStatus(errno, "making randomness for a clone");
  request.set_entropy(std::move(entropy));
  request.set_find_devices(true);
  agent::v1::AgentClient client(connection);
  auto response = co_await client.Rekey(std::move(request), kTimeout);
  co_return Annotate(response.status(), "making a clone's guest its own");
}

}  // namespace kata::virtcontainers
