// SPDX-License-Identifier: Apache-2.0
// The connection to one sandbox's agent: the boot token and the first call. Io thread only.
#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <string>

#include "hypervisors/hypervisor.h"
#include "proto/base/coro.h"
#include "proto/ttrpc/connection.h"

namespace kata::virtcontainers {

// Versions of the agent's protocol that this host speaks. 1 counted credit in bytes alone.
inline constexpr uint32_t kAgentProtocolVersion = 2;
inline constexpr uint32_t kAgentProtocolVersionMin = 2;
// Bytes of one frame from the guest. It bounds what its longest answer can become once it is decoded: two bytes may
// stand for an element of more than a hundred. Twice the longest chunk of output, and the pids of 40,000 processes.
inline constexpr size_t kAgentFrameMax = 128u << 10;
// Of what an agent names; more is a broken one.
inline constexpr int kAgentFeaturesMax = 64;
inline constexpr size_t kAgentFeatureSizeMax = 64;
inline constexpr size_t kKernelReleaseSizeMax = 64;  // Linux has no longer one

// The guest word (hypervisor.h) that holds its digest.
inline constexpr char kTokenWord[] = "token_sha256";

struct BootToken {
  std::string secret;      // 32 random bytes, given to the agent in Hello
  std::string sha256_hex;  // the guest has this; a privileged container can read it
};
absl::StatusOr<BootToken> MakeBootToken();

// An agent that has answered Hello.
struct AgentPeer {
  std::shared_ptr<ttrpc::Connection> connection;
  uint32_t version = 0;
  std::set<std::string> features;  // what may be used: storage-blk, rekey, clock
  std::string kernel_release;      // the guest's word; can be shown
  std::chrono::steady_clock::time_point answered_at;
};

// Says Hello to the agent of a booting machine and returns the connection. The channel keeps what
// is sent before the agent opens it, so one call suffices. Ends early when the machine stops; the
// error then holds the console's last lines. `frame_max` as frame_data_max of ttrpc::Connection.
Co<absl::StatusOr<AgentPeer>> ConnectAgent(std::shared_ptr<hypervisors::Hypervisor> hypervisor, BootToken token,
                                           std::chrono::seconds timeout, size_t frame_max = kAgentFrameMax);

}  // namespace kata::virtcontainers
