// SPDX-License-Identifier: Apache-2.0
// Flow control of kata.agent.v1's Stdio stream; both sides must agree, so a change needs a new protocol version.
#pragma once

#include <cstddef>

namespace kata {

// Credit of one channel that a sender may have unacknowledged, see StdioCost.
inline constexpr size_t kStdioCreditInitial = 256u << 10;
// Bytes of one Data message.
inline constexpr size_t kStdioChunkMax = 64u << 10;
// What a Data message costs besides its bytes: a program that writes a few bytes at a time must not have more messages
// under way than the queues between hold.
inline constexpr size_t kStdioMessageCost = 64;
// A receiver returns credit when it owes this much, or when nothing is left to pass on.
inline constexpr size_t kStdioCreditBatch = 16u << 10;

// The credit that a Data message of `size` bytes uses up.
constexpr size_t StdioCost(size_t size) { return size + kStdioMessageCost; }

}  // namespace kata
