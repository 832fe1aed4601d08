// SPDX-License-Identifier: Apache-2.0
// Mounts in tests are real: a check runs in a forked child with a mount namespace and a /run of its own.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include <gtest/gtest.h>

namespace kata::virtcontainers {

// `check` returns what is wrong, or nothing.
inline void RunApart(std::string (*check)()) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string problem = "no mount namespace";
    if (::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount("none", "/run", "tmpfs", 0, nullptr) == 0) {
      problem = check();
    }
    if (!problem.empty()) std::fprintf(stderr, "%s\n", problem.c_str());
    ::_exit(problem.empty() ? 0 : 1);
  }
  int result = -1;
  ::waitpid(child, &result, 0);
  EXPECT_EQ(result, 0) << "see the line above";
}

}  // namespace kata::virtcontainers
