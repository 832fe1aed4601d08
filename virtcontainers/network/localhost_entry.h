// SPDX-License-Identifier: Apache-2.0
// Takes the TCP connections that programs of the host make to 127.0.0.1 and ::1 in a pod's network namespace, whatever
// their port: two listening sockets there, and a BPF program of the namespace that finds them for every port. Engines
// forward ports so (kubectl port-forward); the servers meant listen in the guest. Blocks: pool threads.
#pragma once

#include <absl/status/statusor.h>

#include "proto/base/fd.h"
#include "virtcontainers/network/network_namespace.h"

namespace kata::virtcontainers {

// Connections that nobody has accepted yet, of each family.
inline constexpr int kLocalhostBacklog = 64;

struct LocalhostEntry {
  // Listening, not blocking; a connection's own address has the port that it was made to. `ipv6` is invalid where the
  // namespace has no IPv6.
  UniqueFd ipv4;
  UniqueFd ipv6;
  UniqueFd program;  // closing it, as the end of this process does, gives the ports back
};

// Fails where the kernel has no such programs (before 5.9) or does not let this process have one.
absl::StatusOr<LocalhostEntry> OpenLocalhostEntry(const NetworkNamespace& place);

}  // namespace kata::virtcontainers
