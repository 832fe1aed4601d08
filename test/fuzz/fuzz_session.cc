// SPDX-License-Identifier: Apache-2.0
// Fuzz target: whatever stands before it, a session's payload arrives whole; and any bytes in any
// pieces give what one pass over the whole gives.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "proto/ttrpc/session_codec.h"

namespace {

using kata::ttrpc::SessionDecoder;

// All payload, with a mark where a session begins.
std::string Decode(std::string_view bytes, size_t piece) {
  SessionDecoder decoder;
  std::string out;
  while (!bytes.empty()) {
    auto space = decoder.Space();
    const size_t n = std::min({piece, space.size(), bytes.size()});
    if (n == 0) abort();
    std::memcpy(space.data(), bytes.data(), n);
    bytes.remove_prefix(n);
    decoder.Commit(n);
    for (auto event = decoder.Next(); event != SessionDecoder::Event::kNeedsBytes; event = decoder.Next()) {
      if (event == SessionDecoder::Event::kNewSession) {
        out += "|";
      } else {
        out += decoder.payload();
      }
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  if (Decode(bytes, bytes.size() + 1) != Decode(bytes, data[0] + 1u)) abort();
  const uint64_t nonce = 0x8877665544332211;
  bytes += kata::ttrpc::SessionPreamble(nonce) + kata::ttrpc::SessionChunks(nonce, "payload");
  const std::string out = Decode(bytes, 4096);
  if (!out.ends_with("|payload")) abort();
  return 0;
}
