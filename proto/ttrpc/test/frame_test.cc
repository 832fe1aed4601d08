// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace kata::ttrpc {
namespace {

// Feeds `bytes` in pieces of at most `piece` bytes.
std::vector<Frame> Parse(FrameParser& parser, std::string_view bytes, size_t piece) {
  std::vector<Frame> frames;
  while (!bytes.empty()) {
    auto space = parser.Space();
    EXPECT_FALSE(space.empty());
    const size_t n = std::min({piece, space.size(), bytes.size()});
    std::memcpy(space.data(), bytes.data(), n);
    bytes.remove_prefix(n);
    parser.Commit(n);
    while (auto frame = parser.Next()) frames.push_back(*std::move(frame));
  }
  return frames;
}

TEST(FrameParser, EncodesTheHeaderInNetworkOrder) {
  EXPECT_EQ(EncodeFrame(0x01020304, kTypeRequest, kFlagRemoteOpen, "ab"),
            std::string("\0\0\0\x02\x01\x02\x03\x04\x01\x02"
                        "ab",
                        12));
}

TEST(FrameParser, FindsTheSameFramesWhereverTheBytesAreSplit) {
  const std::string bytes = EncodeFrame(1, kTypeRequest, 0, "hello") + EncodeFrame(3, kTypeData, 5, "") +
                            EncodeFrame(5, kTypeResponse, 0, "x");
  for (size_t at = 1; at < bytes.size(); ++at) {
    FrameParser parser;
    auto frames = Parse(parser, std::string_view(bytes).substr(0, at), at);
    for (auto& frame : Parse(parser, std::string_view(bytes).substr(at), bytes.size())) frames.push_back(frame);

    ASSERT_EQ(frames.size(), 3u) << "split at " << at;
    EXPECT_EQ(frames[0].data, "hello");
    EXPECT_EQ(frames[1].stream_id, 3u);
    EXPECT_EQ(frames[1].flags, 5);
    EXPECT_EQ(frames[2].data, "x");
    EXPECT_TRUE(parser.at_boundary());
  }
}

TEST(FrameParser, AcceptsSingleBytes) {
  FrameParser parser;

  auto frames = Parse(parser, EncodeFrame(7, kTypeData, 0, "abc") + EncodeFrame(9, kTypeData, 0, "d"), 1);

  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].data, "abc");
  EXPECT_EQ(frames[1].data, "d");
}

TEST(FrameParser, KeepsLargeDataWholeInAnyPieceSize) {
  std::string data(kFrameDataMax, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 >> 3);
  const std::string bytes = EncodeFrame(1, kTypeData, 0, data) + EncodeFrame(3, kTypeData, 0, "next");
  for (size_t piece : {size_t{1000}, size_t{65536}, size_t{70001}, bytes.size()}) {
    FrameParser parser;

    auto frames = Parse(parser, bytes, piece);

    ASSERT_EQ(frames.size(), 2u) << "pieces of " << piece;
    EXPECT_FALSE(frames[0].oversized());
    EXPECT_TRUE(frames[0].data == data);
    EXPECT_EQ(frames[1].data, "next");
  }
}

TEST(FrameParser, SkipsOversizedDataAndReportsItsStream) {
  const std::string big(kFrameDataMax + 1, 'x');
  FrameParser parser;

  auto frames = Parse(parser, EncodeFrame(11, kTypeRequest, 0, big) + EncodeFrame(13, kTypeData, 0, "y"), 50000);

  ASSERT_EQ(frames.size(), 2u);
  EXPECT_TRUE(frames[0].oversized());
  EXPECT_EQ(frames[0].stream_id, 11u);
  EXPECT_TRUE(frames[0].data.empty());
  EXPECT_EQ(frames[1].data, "y");
}

TEST(FrameParser, KeepsToALowerLimit) {
  FrameParser parser(100);
  const std::string bytes =
      EncodeFrame(1, kTypeData, 0, std::string(100, 'a')) + EncodeFrame(3, kTypeData, 0, std::string(101, 'b'));

  const std::vector<Frame> frames = Parse(parser, bytes, 7);

  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].data, std::string(100, 'a'));
  EXPECT_TRUE(frames[1].oversized());
  EXPECT_EQ(frames[1].data, "");
}

TEST(FrameParser, IsNotAtABoundaryInsideAFrame) {
  const std::string bytes = EncodeFrame(1, kTypeData, 0, "abc");
  for (size_t size = 1; size < bytes.size(); ++size) {
    FrameParser parser;
    Parse(parser, std::string_view(bytes).substr(0, size), size);
    EXPECT_FALSE(parser.at_boundary()) << size << " bytes";
  }
}

}  // namespace
}  // namespace kata::ttrpc
