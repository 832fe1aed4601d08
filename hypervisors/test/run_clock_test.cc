// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/run_clock.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace kata::hypervisors {
namespace {

using Clock = std::chrono::steady_clock;

class RunClockTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const pid_t pid : children_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
  // A child that computes for ever, all of them on one CPU.
  pid_t Compute() {
    const pid_t pid = fork();
    if (pid == 0) {
      sched_setaffinity(0, sizeof(first_cpu_set_), &first_cpu_set_);
      for (volatile unsigned i = 0;; i = i + 1) {
      }
    }
    children_.push_back(pid);
    return pid;
  }
  void SetUp() override {
    cpu_set_t allowed;
    ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    CPU_ZERO(&first_cpu_set_);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed)) ++cpu;
    CPU_SET(cpu, &first_cpu_set_);
  }
  std::vector<pid_t> children_;
  cpu_set_t first_cpu_set_;
};

TEST_F(RunClockTest, WaitingForACpuDoesNotCount) {
  if (access("/proc/self/schedstat", R_OK) != 0) GTEST_SKIP() << "the kernel keeps no account";
  const pid_t pid = Compute();
  Compute();
  Compute();
  const RunClock clock(pid);
  const auto begin = Clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  const auto passed = Clock::now() - begin;
  EXPECT_LT(clock.Elapsed(), passed * 3 / 4);  // a third, or less on a busy host
}

TEST_F(RunClockTest, StandingStillCounts) {
  const pid_t pid = Compute();
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  ASSERT_EQ(waitpid(pid, nullptr, WUNTRACED), pid);
  const RunClock clock(pid);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_GE(clock.Elapsed(), std::chrono::milliseconds(50));
}

TEST_F(RunClockTest, ProcessThatIsGoneHasPlainTime) {
  const pid_t pid = Compute();
  const RunClock clock(pid);
  kill(pid, SIGKILL);
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  children_.clear();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_GE(clock.Elapsed(), std::chrono::milliseconds(50));
}

}  // namespace
}  // namespace kata::hypervisors
