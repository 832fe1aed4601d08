// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/console.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "proto/base/fd.h"
#include "proto/base/log.h"

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

class ConsoleLogTest : public testing::Test {
 protected:
  ConsoleLogTest() { log::SetSink(file_.get()); }
  ~ConsoleLogTest() override {
    log::SetSink(2);
    log::SetLevel(log::Level::kInfo);
  }
  std::string Logged() {
    std::string text(1u << 20, '\0');
    const ssize_t size = ::pread(file_.get(), text.data(), text.size(), 0);
    return text.substr(0, static_cast<size_t>(std::max<ssize_t>(size, 0)));
  }

  const UniqueFd file_{::memfd_create("log", MFD_CLOEXEC)};
  ConsoleLog console_;
};

TEST_F(ConsoleLogTest, TellsOfTroubleAlwaysAndOfTheRestAtDebug) {
  console_.Append("[ 1.0] Linux version 6.1\n[ 2.0] Kernel panic - not syncing: At");
  console_.Append("tempted to kill init!\n[ 3.0] Memory cgroup out of memory: Killed process 7 (x)\n");
  console_.Append("[ 4.0] time=\"2026-01-01T00:00:00Z\" level=warning msg=\"odd\"\n");
  const std::string logged = Logged();
  EXPECT_THAT(logged, testing::HasSubstr("level=error msg=\"the guest's kernel has panicked: [ 2.0] Kernel panic - not "
                                         "syncing: Attempted to kill init!\""));
  EXPECT_THAT(logged,
              testing::HasSubstr("level=warning msg=\"the guest's kernel has killed a process for want of memory"));
  EXPECT_THAT(logged, testing::HasSubstr("level=warning msg=\"the guest's agent: "));
  EXPECT_THAT(logged, testing::Not(testing::HasSubstr("Linux version")));

  log::SetLevel(log::Level::kDebug);
  console_.Append("[ 5.0] usb\x1b[2J found\r\n");
  EXPECT_THAT(Logged(), testing::HasSubstr("level=debug msg=\"guest: [ 5.0] usb[2J found\""));
}

TEST_F(ConsoleLogTest, TroublesOfAFloodAreBoundedAndTheRestIsNotLogged) {
  for (size_t i = 0; i < 2 * kConsoleTroublesLogged; ++i)
    console_.Append("Kernel panic - not syncing: again\nand so on\n");
  const std::string logged = Logged();
  EXPECT_EQ(static_cast<size_t>(std::count(logged.begin(), logged.end(), '\n')), kConsoleTroublesLogged);
  EXPECT_THAT(logged, testing::HasSubstr("1000 lines of trouble; no more are logged"));
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

TEST(ConsoleTest, LinesAreLoggedUpToABound) {
  UniqueFd sink(memfd_create("log", MFD_CLOEXEC));
  ASSERT_TRUE(sink.valid());
  log::SetSink(sink.get());
  char pattern[] = "/tmp/kata-console-XXXXXX";
  ASSERT_NE(mkdtemp(pattern), nullptr);
  const std::string path = std::string(pattern) + "/console";
  asio::io_context io;
  auto console = std::make_shared<Console>(io.get_executor());
  console->LogLines();
  ASSERT_TRUE(console->Open(path, getuid(), getgid()).ok());
  UniqueFd writer(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  ASSERT_TRUE(WriteAll(writer.get(), "fir").ok());
  console->Tail(0);
  ASSERT_TRUE(WriteAll(writer.get(), "st\x1b line\n" + std::string(kConsoleLineSize, 'x') + "y\n").ok());
  console->Tail(0);
  const std::string many(4096, '\n');
  for (size_t i = 0; i < kConsoleLinesLogged / many.size() + 2; ++i) {
    ASSERT_TRUE(WriteAll(writer.get(), many).ok());
    console->Tail(0);
  }
  console->Close();
  log::SetSink(STDERR_FILENO);
  unlink(path.c_str());
  rmdir(pattern);

  std::string text(16u << 20, '\0');
  const ssize_t size = pread(sink.get(), text.data(), text.size(), 0);
  ASSERT_GT(size, 0);
  text.resize(static_cast<size_t>(size));
  EXPECT_NE(text.find("guest: first line"), std::string::npos) << text.substr(0, 500);
  EXPECT_EQ(text.find("xy"), std::string::npos);
  EXPECT_NE(text.find("no more are logged"), std::string::npos);
  EXPECT_EQ(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')), kConsoleLinesLogged);
}

}  // namespace
}  // namespace kata::hypervisors
