// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/console.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

TEST(ConsoleRingTest, TailBeginsAtALineAndIsPrintable) {
  ConsoleRing ring;
  ring.Append("first line\r\nsecond \x1b[1mline\nthird\n");
  EXPECT_EQ(ring.Tail(12), "third\n");
  EXPECT_EQ(ring.Tail(1000), "first line\nsecond [1mline\nthird\n");
}

TEST(ConsoleRingTest, FloodKeepsTheEnd) {
  ConsoleRing ring;
  for (int i = 0; i < 100000; ++i) ring.Append("line " + std::to_string(i) + "\n");
  const std::string tail = ring.Tail(1u << 20);
  EXPECT_LE(tail.size(), kConsoleRing);
  EXPECT_GT(tail.size(), kConsoleRing / 2);
  EXPECT_EQ(tail.substr(tail.size() - 11), "line 99999\n");
}

TEST(ConsoleTest, ReadsWhatTheWriterSays) {
  char pattern[] = "/tmp/kata-console-XXXXXX";
  ASSERT_NE(mkdtemp(pattern), nullptr);
  const std::string path = std::string(pattern) + "/console";
  asio::io_context io;
  auto console = std::make_shared<Console>(io.get_executor());
  ASSERT_TRUE(console->Open(path, getuid(), getgid()).ok());
  UniqueFd writer(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  ASSERT_TRUE(writer.valid());
  ASSERT_TRUE(WriteAll(writer.get(), "hello\n").ok());
  io.run_one();
  ASSERT_TRUE(WriteAll(writer.get(), "world\n").ok());
  EXPECT_EQ(console->Tail(100), "hello\nworld\n");
  console->Close();
  unlink(path.c_str());
  rmdir(pattern);
}

}  // namespace
}  // namespace kata::hypervisors
