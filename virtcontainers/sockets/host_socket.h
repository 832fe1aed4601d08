// SPDX-License-Identifier: Apache-2.0
// Unix stream sockets of the host that are given to a pod: found once, when a container is made, and connected to by
// their path ever after, so that a server may be started anew. Blocking, though never for a server; pool threads.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"
#include "virtcontainers/sockets/socket_rules.h"

namespace kata::virtcontainers {

// Number N of a container is <kGuestSockets>/CONTAINER/N in the guest (kHostSockets of agent/base/paths.h).
inline constexpr char kGuestSockets[] = "/run/kata-containers/sockets";

struct HostSocket {
  std::string path;  // in which no part is a link, and which the rules list
  mode_t mode = 0;   // permissions
  uid_t uid = 0;
  gid_t gid = 0;
};

// The socket that `source` leads to; nothing when it leads to something else, or nowhere. PermissionDenied when the
// rules do not list it; Unimplemented for a socket of another kind than streams, as far as that can be told.
absl::StatusOr<std::optional<HostSocket>> FindHostSocket(const std::string& source, const SocketRules& rules);

// A connection to the socket that is at `path` now. No link is followed, so that it can be no other than a listed one.
// Does not wait: ResourceExhausted while the server has as many connections waiting as it takes.
absl::StatusOr<UniqueFd> ConnectToHostSocket(const std::string& path);

}  // namespace kata::virtcontainers
