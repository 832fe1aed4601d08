// SPDX-License-Identifier: Apache-2.0
#include "proto/base/stdio_queue.h"

#include <gtest/gtest.h>

namespace kata {
namespace {

TEST(StdioQueue, JoinsSmallMessagesOfAChannelAndAddsUpTheirCredit) {
  StdioQueue queue;
  queue.Push(1, "one ");
  queue.Push(1, "two ");
  queue.Push(2, "other");
  queue.Push(1, "three");

  StdioChunk first = queue.Pop();
  EXPECT_EQ(first.channel, 1);
  EXPECT_EQ(first.data, "one two ");
  EXPECT_EQ(first.credit, 2 * StdioCost(4));
  EXPECT_EQ(queue.Pop().data, "other");
  EXPECT_EQ(queue.Pop().data, "three");
  EXPECT_TRUE(queue.empty());
}

TEST(StdioQueue, MakesNoPieceLongerThanAChunk) {
  StdioQueue queue;
  queue.Push(1, std::string(kStdioChunkMax - 1, 'a'));
  queue.Push(1, "bc");
  queue.Push(1, "d");

  EXPECT_EQ(queue.Pop().data.size(), kStdioChunkMax - 1);
  EXPECT_EQ(queue.Pop().data, "bcd");
}

}  // namespace
}  // namespace kata
