// SPDX-License-Identifier: Apache-2.0
#include "agent/process/exit_table.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

pid_t DeadChild(int status) {
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(status);
  siginfo_t info;
  ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
  return pid;
}

TEST(ExitStatusOf, AddsTheSignalTo128) {
  EXPECT_EQ(ExitStatusOf(W_EXITCODE(7, 0)), 7);
  EXPECT_EQ(ExitStatusOf(W_EXITCODE(0, SIGKILL)), 137);
}

TEST(ExitTable, AnExitBeforeRegisterIsDelivered) {
  ExitTable table;
  int status = -1;
  pid_t pid = DeadChild(5);
  table.Register(pid, [&status](int exit_status) { status = exit_status; });

  EXPECT_EQ(table.Reap(), 1);

  EXPECT_EQ(status, 5);
}

TEST(ExitTable, ReapsChildrenThatNobodyRegistered) {
  ExitTable table;
  DeadChild(0);
  DeadChild(0);

  EXPECT_EQ(table.Reap(), 2);
  EXPECT_EQ(table.Reap(), 0);
}

}  // namespace
}  // namespace kata::agent
