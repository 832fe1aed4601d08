// SPDX-License-Identifier: Apache-2.0
// One side of a connection that is carried over a streaming call between host and guest: what comes from the stream
// socket here goes out as messages, what the other side sends is written to the socket, each direction ends by itself,
// and neither side holds more than the credit of the other. Io thread only.
#pragma once

#include <memory>

#include <boost/asio/generic/stream_protocol.hpp>

#include "proto/base/coro.h"
#include "proto/schema/agent.pb.h"
#include "proto/ttrpc/message_stream.h"

namespace kata {

using TunnelSocket = asio::generic::stream_protocol::socket;
using TunnelStream = ttrpc::MessageStream<agent::v1::TunnelMessage, agent::v1::TunnelMessage>;

// The side that answers the call ends it by returning; the one that makes it waits for that, since what it has sent
// last would be dropped otherwise.
enum class TunnelSide { kCaller, kAnswerer };

// Returns OK when both directions have ended. When one breaks, on either side, both do: the socket is reset, so that
// its peer does not take what has come for the whole. `socket` is closed in any case. An error says what broke.
Co<absl::Status> RunTunnel(std::shared_ptr<TunnelSocket> socket, std::shared_ptr<TunnelStream> stream, TunnelSide side);

}  // namespace kata
