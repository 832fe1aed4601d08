// SPDX-License-Identifier: Apache-2.0
// Streams to a machine's vsock port. Blocking calls; pool threads.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::hypervisors {

// Why the host kernel's vsock cannot be used; OK when it can.
absl::Status CheckVhostVsock();

// Through the host's kernel. Unavailable while nobody listens in the machine.
absl::StatusOr<UniqueFd> ConnectVsock(uint32_t cid, uint32_t port, std::chrono::milliseconds timeout);

// For the first connection to `ready`, a listening socket: the guest's word that its agent listens. Unavailable while
// there is none.
absl::Status WaitForReady(int ready, std::chrono::milliseconds timeout);

// Through the unix socket of a vhost-device-vsock, which wants a line that names the port and answers with one. It is
// refused when the one who listens there is not `uid`. Unavailable while nobody listens in the machine.
absl::StatusOr<UniqueFd> ConnectVhostUserVsock(const std::string& path, uint32_t port, uid_t uid,
                                               std::chrono::milliseconds timeout);

// The guest's address in the document of a running domain.
absl::StatusOr<uint32_t> VsockCidOf(const std::string& domain_xml);

}  // namespace kata::hypervisors
