// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/session_codec.h"

#include <algorithm>
#include <cstring>

#include <boost/endian/conversion.hpp>

namespace kata::ttrpc {
namespace {

// As a length it would be far above kSessionChunkMax.
constexpr std::string_view kMagic = "\xffKATAses";
constexpr size_t kLengthSize = sizeof(uint32_t);
constexpr size_t kNonceSize = sizeof(uint64_t);
constexpr size_t kMarkSize = kMagic.size() + kNonceSize;
static_assert(kSessionChunkOverhead == kLengthSize + kNonceSize);

uint32_t LoadLength(const char* from) {
  return boost::endian::load_big_u32(reinterpret_cast<const unsigned char*>(from));
}

uint64_t LoadNonce(const char* from) {
  return boost::endian::load_big_u64(reinterpret_cast<const unsigned char*>(from));
}

void AppendNonce(std::string& out, uint64_t nonce) {
  unsigned char bytes[kNonceSize];
  boost::endian::store_big_u64(bytes, nonce);
  out.append(reinterpret_cast<const char*>(bytes), kNonceSize);
}

void AppendLength(std::string& out, size_t length) {
  unsigned char bytes[kLengthSize];
  boost::endian::store_big_u32(bytes, static_cast<uint32_t>(length));
  out.append(reinterpret_cast<const char*>(bytes), kLengthSize);
}

}  // namespace

std::string SessionMark(uint64_t nonce) {
  std::string out(kMagic);
  AppendNonce(out, nonce);
  return out;
}

std::string SessionPreamble(uint64_t nonce) { return std::string(kSessionPaddingSize, '\0') + SessionMark(nonce); }

std::string SessionChunks(uint64_t nonce, std::string_view payload) {
  std::string out;
  const size_t chunks = (payload.size() + kSessionChunkMax - 1) / kSessionChunkMax;
  out.reserve(payload.size() + chunks * kSessionChunkOverhead);
  while (!payload.empty()) {
    const std::string_view part = payload.substr(0, kSessionChunkMax);
    AppendLength(out, part.size());
    out += part;
    AppendNonce(out, nonce);
    payload.remove_prefix(part.size());
  }
  return out;
}

SessionDecoder::SessionDecoder() : buffer_(2 * (kSessionChunkMax + kSessionChunkOverhead)) {}

std::span<char> SessionDecoder::Space() {
  if (begin_ == end_) begin_ = end_ = 0;
  // A whole chunk always fits behind begin_ once begin_ lies in the first half.
  if (begin_ > buffer_.size() / 2) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return {buffer_.data() + end_, buffer_.size() - end_};
}

void SessionDecoder::Commit(size_t size) { end_ += std::min(size, buffer_.size() - end_); }

bool SessionDecoder::FindSession() {
  for (;;) {
    const std::string_view bytes(buffer_.data() + begin_, end_ - begin_);
    const size_t at = bytes.find(kMagic);
    if (at == std::string_view::npos) {
      // The magic may have begun in the last bytes.
      begin_ = end_ - std::min(bytes.size(), kMagic.size() - 1);
      return false;
    }
    begin_ += at;
    if (end_ - begin_ < kMarkSize) return false;
    nonce_ = LoadNonce(buffer_.data() + begin_ + kMagic.size());
    if (nonce_ != 0) break;
    ++begin_;
  }
  begin_ += kMarkSize;
  is_open_ = true;
  return true;
}

SessionDecoder::Event SessionDecoder::Next() {
  payload_ = {};
  if (is_open_) {
    if (end_ - begin_ < kLengthSize) return Event::kNeedsBytes;
    const size_t length = LoadLength(buffer_.data() + begin_);
    if (length > 0 && length <= kSessionChunkMax) {
      if (end_ - begin_ < length + kSessionChunkOverhead) return Event::kNeedsBytes;
      const char* payload = buffer_.data() + begin_ + kLengthSize;
      begin_ += length + kSessionChunkOverhead;
      if (LoadNonce(payload + length) == nonce_) {
        payload_ = {payload, length};
        return Event::kPayload;
      }
    }
    is_open_ = false;
  }
  return FindSession() ? Event::kNewSession : Event::kNeedsBytes;
}

SessionAnswerFinder::SessionAnswerFinder(uint64_t nonce) : mark_(SessionMark(nonce)) {}

size_t SessionAnswerFinder::Filter(std::span<char> data) {
  if (has_found_) return data.size();
  tail_.append(data.data(), data.size());
  const size_t at = tail_.find(mark_);
  if (at == std::string::npos) {
    tail_.erase(0, tail_.size() - std::min(tail_.size(), mark_.size() - 1));
    return 0;
  }
  has_found_ = true;
  // Shorter than `data`: the mark is longer than what was kept before.
  const size_t rest = tail_.size() - at - mark_.size();
  std::memcpy(data.data(), tail_.data() + at + mark_.size(), rest);
  tail_.clear();
  return rest;
}

}  // namespace kata::ttrpc
