// SPDX-License-Identifier: Apache-2.0
// Frames that wait to be written. The streams take turns, one frame each, so that a stream which
// has little to say does not wait behind all that another has queued. Frames of one stream keep
// their order, and so do the first frames of streams: ttrpc wants rising stream ids. Not
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

namespace kata::ttrpc {

class SendQueue {
 public:
  void Push(uint32_t stream_id, std::string frame);
  bool empty() const { return turns_.empty(); }
  // The next frame; only when not empty.
  const std::string& Front() const { return streams_.at(turns_.front()).front(); }
  std::string Pop();
  void Clear();

 private:
  std::unordered_map<uint32_t, std::deque<std::string>> streams_;  // those with frames
  std::deque<uint32_t> turns_;
};

}  // namespace kata::ttrpc
