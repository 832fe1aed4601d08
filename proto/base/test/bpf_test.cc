// SPDX-License-Identifier: Apache-2.0
#include "proto/base/bpf.h"

#include <signal.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include <absl/strings/match.h>
#include <gtest/gtest.h>

namespace kata {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr int kInstructions = 4000;
constexpr int kLoads = 200;
constexpr int kSignalEvery = 8;  // loads, on the average
constexpr microseconds kShortestTimer{500};

std::atomic<int> signals_taken{0};

// To no cgroup: what is well loaded fails when it is attached.
absl::Status LoadOnly(const std::vector<bpf_insn>& program) {
  return AttachProgram(-1, BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, program, "long");
}

bool IsLoaded(const absl::Status& status) { return absl::StartsWith(status.message(), "attaching"); }

TEST(AttachProgram, SignalsDoNotKeepAProgramFromBeingLoaded) {
  std::vector<bpf_insn> program(kInstructions, Insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1));
  program.push_back(Insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  const auto began = steady_clock::now();
  const absl::Status alone = LoadOnly(program);
  const auto took = std::chrono::duration_cast<microseconds>(steady_clock::now() - began);
  if (!IsLoaded(alone)) GTEST_SKIP() << alone;

  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { ++signals_taken; };
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  const microseconds between = std::max(kSignalEvery * took, kShortestTimer);
  itimerval timer{};
  timer.it_interval.tv_sec = timer.it_value.tv_sec = between.count() / 1000000;
  timer.it_interval.tv_usec = timer.it_value.tv_usec = between.count() % 1000000;
  ASSERT_EQ(::setitimer(ITIMER_REAL, &timer, nullptr), 0);
  for (int i = 0; i < kLoads; ++i) {
    const absl::Status status = LoadOnly(program);
    EXPECT_TRUE(IsLoaded(status)) << status;
  }
  timer = {};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_GT(signals_taken, 0);
}

}  // namespace
}  // namespace kata
