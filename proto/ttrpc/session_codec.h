// SPDX-License-Identifier: Apache-2.0
// Sessions on a channel whose ends do not see each other come and go, without I/O. A virtio-serial
// port is one: when the host hangs up in the middle of a frame and connects again, the guest reads
// the new bytes right behind the old ones. So each connection of the host begins a session:
//
//   host to guest   preamble: kSessionPaddingSize zero bytes, the magic, the nonce (u64, never 0);
//                   then chunks: length (u32, 1 to kSessionChunkMax), payload, the nonce again
//   guest to host   the magic and the nonce, then plain bytes
//
// All numbers are big endian. The nonce is random. The padding is longer than any chunk: wherever
// the host was cut off, the guest is past the old chunk, whose end cannot be right, before the
// magic comes. The host drops what it reads before its own nonce, which no older session can have
// sent. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kata::ttrpc {

inline constexpr size_t kSessionChunkMax = 64u << 10;
inline constexpr size_t kSessionChunkOverhead = 12;
inline constexpr size_t kSessionPaddingSize = kSessionChunkMax + kSessionChunkOverhead;

// The guest's answer, and the end of the host's preamble.
std::string SessionMark(uint64_t nonce);
std::string SessionPreamble(uint64_t nonce);
// `payload` in as many chunks as it needs, one behind the other.
std::string SessionChunks(uint64_t nonce, std::string_view payload);

// The guest's reader. Use: call Next() until it needs bytes, put some into Space(), Commit() their
// number, repeat.
class SessionDecoder {
 public:
  enum class Event { kNeedsBytes, kPayload, kNewSession };

  SessionDecoder();
  std::span<char> Space();  // never empty
  void Commit(size_t size);
  Event Next();
  // Of the last kPayload; valid until the next call of Next() or Space().
  std::string_view payload() const { return payload_; }
  // Of the session under way; 0 before the first.
  uint64_t nonce() const { return nonce_; }

 private:
  bool FindSession();

  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool is_open_ = false;  // at the start of a chunk; otherwise looking for the magic
  uint64_t nonce_ = 0;
  std::string_view payload_;
};

// The host's reader: drops what comes before the guest's answer.
class SessionAnswerFinder {
 public:
  explicit SessionAnswerFinder(uint64_t nonce);
  bool has_found() const { return has_found_; }
  // Takes `data`; what remains of it behind the answer is moved to its front. Returns its size.
  size_t Filter(std::span<char> data);

 private:
  const std::string mark_;
  std::string tail_;  // the last bytes seen, shorter than the mark
  bool has_found_ = false;
};

}  // namespace kata::ttrpc
