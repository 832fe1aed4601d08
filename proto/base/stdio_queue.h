// SPDX-License-Identifier: Apache-2.0
// Bytes of Stdio channels that have come and wait to be passed on, in order, with the credit that they have cost their
// sender. Small messages that wait behind another of their channel are joined: one write and one return of credit then
// do for many. Its owner bounds it by the credit. Not thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <utility>

#include "proto/base/stdio_limits.h"

namespace kata {

struct StdioChunk {
  int channel = 0;
  std::string data;  // at most kStdioChunkMax bytes
  size_t credit = 0;
};

class StdioQueue {
 public:
  bool empty() const { return chunks_.empty(); }
  void Push(int channel, std::string data);
  StdioChunk Pop();
  void Clear() { chunks_.clear(); }

 private:
  std::deque<StdioChunk> chunks_;
};

}  // namespace kata
