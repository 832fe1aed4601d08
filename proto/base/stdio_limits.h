// SPDX-License-Identifier: Apache-2.0
// Flow control of kata.agent.v1's Stdio stream; both sides must agree, so a change needs a new protocol version.
#pragma once

#include <cstddef>

namespace kata {

// Bytes of one channel that a sender may have unacknowledged.
inline constexpr size_t kStdioCreditInitial = 256u << 10;
// Bytes of one Data message.
inline constexpr size_t kStdioChunkMax = 64u << 10;

}  // namespace kata
