// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/frame.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace kata::ttrpc {
namespace {

constexpr size_t kBufferSize = 64u << 10;
// Rests of data smaller than this go through the buffer, so that the frames after it come in the
// same read.
constexpr size_t kDirectMin = 32u << 10;

uint32_t LoadBigEndian(const char* in) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(in[i]);
  return value;
}

void StoreBigEndian(char* out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (24 - 8 * i));
}

}  // namespace

FrameParser::FrameParser(size_t data_max) : data_max_(std::min(data_max, kFrameDataMax)), buffer_(kBufferSize) {}

std::span<char> FrameParser::Space() {
  is_direct_ = false;
  if (begin_ == end_) begin_ = end_ = 0;
  if (has_header_ && begin_ == end_ && !frame_.oversized()) {
    const size_t rest = frame_.length - filled_;
    if (rest >= kDirectMin) {
      is_direct_ = true;
      return std::span<char>(frame_.data).subspan(filled_);
    }
  }
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return std::span<char>(buffer_).subspan(end_);
}

void FrameParser::Commit(size_t size) { (is_direct_ ? filled_ : end_) += size; }

bool FrameParser::TakeHeader() {
  if (end_ - begin_ < kFrameHeaderSize) return false;
  const char* header = buffer_.data() + begin_;
  begin_ += kFrameHeaderSize;
  frame_ = Frame();
  frame_.length = LoadBigEndian(header);
  frame_.stream_id = LoadBigEndian(header + 4);
  frame_.type = static_cast<uint8_t>(header[8]);
  frame_.flags = static_cast<uint8_t>(header[9]);
  frame_.is_oversized = frame_.length > data_max_;
  if (!frame_.oversized()) frame_.data.resize(frame_.length);
  filled_ = 0;
  has_header_ = true;
  return true;
}

std::optional<Frame> FrameParser::Next() {
  if (!has_header_ && !TakeHeader()) return std::nullopt;
  const size_t size = std::min(end_ - begin_, frame_.length - filled_);
  if (!frame_.oversized() && size > 0) {
    std::memcpy(frame_.data.data() + filled_, buffer_.data() + begin_, size);
  }
  begin_ += size;
  filled_ += size;
  if (filled_ < frame_.length) return std::nullopt;
  has_header_ = false;
  return std::exchange(frame_, Frame());
}

void WriteFrameHeader(char* out, size_t data_size, uint32_t stream_id, uint8_t type, uint8_t flags) {
  StoreBigEndian(out, static_cast<uint32_t>(data_size));
  StoreBigEndian(out + 4, stream_id);
  out[8] = static_cast<char>(type);
  out[9] = static_cast<char>(flags);
}

std::string EncodeFrame(uint32_t stream_id, uint8_t type, uint8_t flags, std::string_view data) {
  std::string frame;
  frame.reserve(kFrameHeaderSize + data.size());
  frame.resize(kFrameHeaderSize);
  WriteFrameHeader(frame.data(), data.size(), stream_id, type, flags);
  frame.append(data);
  return frame;
}

}  // namespace kata::ttrpc
