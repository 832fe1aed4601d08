// SPDX-License-Identifier: Apache-2.0
// Processors and memory that appear in files that stand for the kernel's.
#include "agent/machine_size.h"

#include <filesystem>

#include <absl/strings/ascii.h>
#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "proto/base/fd.h"

namespace kata::agent {
namespace {

constexpr uint64_t kMiB = 1u << 20;

class MachineSizeTest : public ::testing::Test {
 protected:
  MachineSizeTest() {
    char name[] = "/tmp/machine-size-XXXXXX";
    directory_ = ::mkdtemp(name);
    for (const char* below : {"/cpu/cpu1", "/cgroup"}) std::filesystem::create_directories(directory_ + below);
    Write("/cpu/present", "0-1\n");
    Write("/cpu/online", "0\n");
    Write("/cpu/cpu1/online", "0\n");
    SetMemory(512);
    Write("/threads", "4000\n");
    Write("/cgroup/memory.max", absl::StrCat(400 * kMiB, "\n"));
    Write("/cgroup/memory.current", "1000\n");
    Write("/cgroup/pids.max", "3000\n");
    options_.processors = directory_ + "/cpu";
    options_.meminfo = directory_ + "/meminfo";
    options_.threads = directory_ + "/threads";
    options_.cgroup = directory_ + "/cgroup";
    options_.give_back_timeout = std::chrono::milliseconds(200);
    size_ = std::make_unique<MachineSize>(&uevents_, options_);
  }
  ~MachineSizeTest() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(directory_ + name, text, 0644).ok());
  }
  std::string Read(const std::string& name) {
    return std::string(absl::StripAsciiWhitespace(ReadFile(directory_ + name, 4096).value_or("none")));
  }
  void SetMemory(uint64_t mib) { Write("/meminfo", absl::StrCat("MemFree: 1 kB\nMemTotal:   ", mib * 1024, " kB\n")); }
  absl::StatusOr<MachineSize::Size> Follow(uint32_t processors, uint64_t memory_mib) {
    absl::StatusOr<MachineSize::Size> result = absl::UnknownError("not ended");
    MachineSize::Size wanted{processors, memory_mib * kMiB};
    asio::co_spawn(io_, size_->Follow(wanted), [&](std::exception_ptr, absl::StatusOr<MachineSize::Size> size) {
      result = std::move(size);
      io_.stop();
    });
    io_.restart();
    io_.run_for(4 * kResizeTimeout);
    return result;
  }
  // While a call waits.
  void Later(std::function<void()> job) {
    auto timer = std::make_shared<asio::steady_timer>(io_, std::chrono::milliseconds(50));
    timer->async_wait([timer, job](boost::system::error_code) { job(); });
  }

  std::string directory_;
  MachineSizeOptions options_;
  asio::io_context io_{1};
  Uevents uevents_{io_.get_executor()};
  std::unique_ptr<MachineSize> size_;
};

TEST_F(MachineSizeTest, TakesIntoUseWhatHasCome) {
  Later([this] {
    EXPECT_EQ(Read("/cpu/cpu1/online"), "1");
    Write("/cpu/online", "0-1\n");
    SetMemory(1024);
  });
  const auto size = Follow(2, 512);
  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_EQ(size->processors, 2U);
  EXPECT_EQ(size->memory_added, 512 * kMiB);
  EXPECT_EQ(Read("/cgroup/memory.max"), absl::StrCat(912 * kMiB));
  EXPECT_EQ(Read("/cgroup/pids.max"), "6000");
  EXPECT_EQ(Read("/threads"), "8000");
}

TEST_F(MachineSizeTest, ProcessorsBeyondAreNotUsed) {
  Write("/cpu/cpu1/online", "1\n");
  Write("/cpu/online", "0-1\n");
  ASSERT_TRUE(Follow(1, 0).ok());
  EXPECT_EQ(Read("/cpu/cpu1/online"), "0");
}

TEST_F(MachineSizeTest, WhatGoesIsWaitedForButNotForEver) {
  SetMemory(1024);
  ASSERT_TRUE(Follow(1, 512).ok());
  Later([this] { SetMemory(640); });
  const auto size = Follow(1, 0);
  ASSERT_TRUE(size.ok()) << size.status();
  EXPECT_EQ(size->memory_added, 128 * kMiB);
  EXPECT_EQ(Read("/cgroup/memory.max"), absl::StrCat(528 * kMiB));
}

TEST_F(MachineSizeTest, ABoundDoesNotFallBelowWhatIsUsed) {
  SetMemory(1024);
  ASSERT_TRUE(Follow(1, 512).ok());
  Write("/cgroup/memory.current", absl::StrCat(700 * kMiB));
  SetMemory(512);
  ASSERT_TRUE(Follow(1, 0).ok());
  EXPECT_EQ(Read("/cgroup/memory.max"), absl::StrCat(700 * kMiB));
}

TEST_F(MachineSizeTest, SaysWhatDidNotCome) {
  options_.timeout = std::chrono::milliseconds(200);
  size_ = std::make_unique<MachineSize>(&uevents_, options_);
  const auto size = Follow(2, 0);
  EXPECT_TRUE(absl::IsDeadlineExceeded(size.status()));
  EXPECT_EQ(size.status().message(), "waiting for 2 processors and 0 bytes of memory more: there are 1 and 0");
}

TEST(CountOfList, CountsRanges) {
  EXPECT_EQ(CountOfList("0"), 1U);
  EXPECT_EQ(CountOfList("0-3,7"), 5U);
  for (const char* text : {"", "x", "3-1", "0-99999999"}) EXPECT_EQ(CountOfList(text), 0U) << text;
}

}  // namespace
}  // namespace kata::agent
