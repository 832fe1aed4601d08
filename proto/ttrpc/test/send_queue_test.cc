// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc/send_queue.h"

#include <vector>

#include <gtest/gtest.h>

namespace kata::ttrpc {
namespace {

using Frames = std::vector<std::string>;

Frames Drain(SendQueue& queue) {
  Frames out;
  while (!queue.empty()) {
    EXPECT_EQ(queue.Front(), queue.Front());
    out.push_back(queue.Pop());
  }
  return out;
}

TEST(SendQueueTest, OneStreamKeepsItsOrder) {
  SendQueue queue;
  for (const char* frame : {"a", "b", "c"}) queue.Push(1, frame);
  EXPECT_EQ(Drain(queue), (Frames{"a", "b", "c"}));
}

TEST(SendQueueTest, AQuietStreamWaitsForOneFrameOfABusyOne) {
  SendQueue queue;
  for (const char* frame : {"flood1", "flood2", "flood3"}) queue.Push(1, frame);
  queue.Push(3, "echo");
  EXPECT_EQ(Drain(queue), (Frames{"flood1", "echo", "flood2", "flood3"}));
}

TEST(SendQueueTest, StreamsBeginInTheOrderOfTheirFirstFrames) {
  SendQueue queue;
  queue.Push(1, "one");
  queue.Push(1, "one more");
  EXPECT_EQ(queue.Pop(), "one");
  queue.Push(3, "three");
  queue.Push(5, "five");
  EXPECT_EQ(Drain(queue), (Frames{"one more", "three", "five"}));
}

TEST(SendQueueTest, AClearedQueueIsEmptyAndUsable) {
  SendQueue queue;
  queue.Push(1, "lost");
  queue.Clear();
  EXPECT_TRUE(queue.empty());
  queue.Push(1, "kept");
  EXPECT_EQ(Drain(queue), (Frames{"kept"}));
}

}  // namespace
}  // namespace kata::ttrpc
