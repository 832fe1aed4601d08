// SPDX-License-Identifier: Apache-2.0
// Fuzz target: any bytes in any pieces give the frames that one pass over the whole gives.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "proto/ttrpc/frame.h"

namespace {

std::vector<kata::ttrpc::Frame> Parse(const uint8_t* data, size_t size, size_t piece) {
  kata::ttrpc::FrameParser parser;
  std::vector<kata::ttrpc::Frame> frames;
  while (size > 0) {
    auto space = parser.Space();
    const size_t n = std::min({piece, space.size(), size});
    if (n == 0) abort();
    std::memcpy(space.data(), data, n);
    data += n;
    size -= n;
    parser.Commit(n);
    while (auto frame = parser.Next()) frames.push_back(*std::move(frame));
  }
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const auto whole = Parse(data + 1, size - 1, size);
  const auto pieces = Parse(data + 1, size - 1, data[0] + 1u);
  if (whole.size() != pieces.size()) abort();
  for (size_t i = 0; i < whole.size(); ++i) {
    if (whole[i].data != pieces[i].data || whole[i].stream_id != pieces[i].stream_id) abort();
  }
  return 0;
}
