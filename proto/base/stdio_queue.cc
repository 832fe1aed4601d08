// SPDX-License-Identifier: Apache-2.0
#include "proto/base/stdio_queue.h"

namespace kata {

void StdioQueue::Push(int channel, std::string data) {
  const size_t cost = StdioCost(data.size());
  if (!chunks_.empty()) {
    StdioChunk& last = chunks_.back();
    if (last.channel == channel && last.data.size() + data.size() <= kStdioChunkMax) {
      last.data += data;
      last.credit += cost;
      return;
    }
  }
  chunks_.push_back(StdioChunk());
  StdioChunk& chunk = chunks_.back();
  chunk.channel = channel;
  chunk.data = std::move(data);
  chunk.credit = cost;
}

StdioChunk StdioQueue::Pop() {
  StdioChunk chunk = std::move(chunks_.front());
  chunks_.pop_front();
  return chunk;
}

}  // namespace kata
