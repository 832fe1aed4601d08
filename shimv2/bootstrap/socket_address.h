// SPDX-License-Identifier: Apache-2.0
// Where a pod's shim listens: a name that every container of the pod can compute (docs/shim-contract.md section 1).
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::shimv2 {

inline constexpr char kSocketDirectory[] = "/run/containerd/s";

// Absolute path of the socket of the pod `group` in `name_space` of the containerd at `address`; `directory` empty =
// kSocketDirectory.
std::string SocketPath(const std::string& directory, const std::string& address, const std::string& name_space,
                       const std::string& group);
// "unix://" + path: what `start` prints and the file `address` holds.
std::string SocketAddress(const std::string& path);
// The path that BUNDLE/address names; empty when there is no such file or it holds something else.
std::string RecordedSocketPath(const std::string& bundle);
// Listening socket, mode 0600; its directory is made. AlreadyExists when a live shim listens there; a stale socket file
// is replaced.
absl::StatusOr<UniqueFd> ListenOn(const std::string& path);
// True when something accepts connections at `path`.
bool IsListening(const std::string& path);
// Removes a socket file that nobody listens on; leaves what is no socket.
void RemoveStaleSocket(const std::string& path);

}  // namespace kata::shimv2
