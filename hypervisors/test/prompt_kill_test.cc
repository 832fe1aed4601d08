// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/prompt_kill.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include <gtest/gtest.h>

#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

// A program that only waits. With `is_deaf` it does not end of SIGTERM; it is so when this returns.
pid_t Waiting(bool is_deaf) {
  int ready[2];
  EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGTERM, is_deaf ? SIG_IGN : SIG_DFL);
    ::execlp("sleep", "sleep", "1000", nullptr);
    ::_exit(1);
  }
  ::close(ready[1]);
  char none = 0;
  EXPECT_EQ(::read(ready[0], &none, 1), 0);
  ::close(ready[0]);
  return pid;
}

TEST(PromptKill, ProcessThatEndsIsGoneWhenItReturns) {
  const pid_t pid = Waiting(false);

  EXPECT_EQ(::kill(pid, SIGTERM), -1);
  EXPECT_EQ(errno, ESRCH);
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);
}

TEST(PromptKill, EndedProcessThatNobodyHasCollectedIsGoneToo) {
  const pid_t pid = Waiting(false);
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);

  EXPECT_EQ(::kill(pid, SIGTERM), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(PromptKill, ProcessThatStaysIsWaitedForAsLongAsLibvirtWould) {
  const pid_t pid = Waiting(true);
  const auto began = std::chrono::steady_clock::now();

  EXPECT_EQ(::kill(pid, SIGTERM), 0);

  EXPECT_GE(std::chrono::steady_clock::now() - began, kLibvirtKillPoll);
  EXPECT_EQ(::kill(pid, 0), 0);
  EXPECT_EQ(::kill(pid, SIGKILL), 0);
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
}

TEST(PromptKill, AnEndIsCollectedOnce) {
  const pid_t pid = Waiting(true);
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  EXPECT_FALSE(CollectEnded(pidfd.get()));
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);

  EXPECT_TRUE(CollectEnded(pidfd.get()));
  EXPECT_FALSE(CollectEnded(pidfd.get()));
}

TEST(PromptKill, WhatIsNotThereIsAnError) {
  EXPECT_EQ(::kill(1 << 30, SIGTERM), -1);
  EXPECT_EQ(errno, ESRCH);
}

}  // namespace
}  // namespace kata::hypervisors
