// SPDX-License-Identifier: Apache-2.0
// Connects to a server of the sandbox that listens on loopback, for a caller on the host.
#pragma once

#include <memory>

#include <absl/status/statusor.h>

#include "proto/base/coro.h"
#include "proto/schema/agent.pb.h"
#include "proto/tunnel/tunnel.h"

namespace kata::agent {

// The other family's loopback is tried when nobody listens at the one asked for. Unavailable when nobody does at all.
Co<absl::StatusOr<std::shared_ptr<TunnelSocket>>> DialLoopback(asio::any_io_executor executor,
                                                               v1::TunnelMessage::Open open);

}  // namespace kata::agent
