// SPDX-License-Identifier: Apache-2.0
// ttrpc framing without I/O: bytes in, frames out, and back. A frame is a 10-byte header (data
// length, stream id, both big endian; type; flags) and its data. Data above the parser's limit is
// skipped without being stored and reported as an oversized frame. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kata::ttrpc {

inline constexpr size_t kFrameHeaderSize = 10;
inline constexpr size_t kFrameDataMax = 4u << 20;

inline constexpr uint8_t kTypeRequest = 1;
inline constexpr uint8_t kTypeResponse = 2;
inline constexpr uint8_t kTypeData = 3;

inline constexpr uint8_t kFlagRemoteClosed = 1;
inline constexpr uint8_t kFlagRemoteOpen = 2;
inline constexpr uint8_t kFlagNoData = 4;

struct Frame {
  uint32_t stream_id = 0;
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t length = 0;  // as on the wire; data.size() unless oversized
  std::string data;
  bool is_oversized = false;

  bool oversized() const { return is_oversized; }
};

// Use: put bytes into Space(), Commit() their number, call Next() until it returns nothing, repeat.
class FrameParser {
 public:
  explicit FrameParser(size_t data_max = kFrameDataMax);
  // Where the next bytes go; never empty. Large data is received in place.
  std::span<char> Space();
  void Commit(size_t size);
  std::optional<Frame> Next();
  // True between frames: an end of stream here is clean.
  bool at_boundary() const { return !has_header_ && begin_ == end_; }

 private:
  bool TakeHeader();

  const size_t data_max_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool is_direct_ = false;  // Space() gave out frame_.data
  bool has_header_ = false;
  Frame frame_;
  size_t filled_ = 0;  // bytes of data received, stored or skipped
};

// Writes the header of a frame with `data_size` bytes into `out` (kFrameHeaderSize bytes).
void WriteFrameHeader(char* out, size_t data_size, uint32_t stream_id, uint8_t type, uint8_t flags);
std::string EncodeFrame(uint32_t stream_id, uint8_t type, uint8_t flags, std::string_view data);

}  // namespace kata::ttrpc
