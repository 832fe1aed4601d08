// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/send_queue.h"

#include <utility>

namespace kata::ttrpc {

void SendQueue::Push(uint32_t stream_id, std::string frame) {
  std::deque<std::string>& frames = streams_[stream_id];
  if (frames.empty()) turns_.push_back(stream_id);
  frames.push_back(std::move(frame));
}

std::string SendQueue::Pop() {
  const uint32_t id = turns_.front();
  turns_.pop_front();
  auto stream = streams_.find(id);
  std::string frame = std::move(stream->second.front());
  stream->second.pop_front();
  if (stream->second.empty()) {
    streams_.erase(stream);
  } else {
    turns_.push_back(id);
  }
  return frame;
}

void SendQueue::Clear() {
  streams_.clear();
  turns_.clear();
}

}  // namespace kata::ttrpc
