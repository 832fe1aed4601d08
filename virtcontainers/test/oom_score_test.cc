// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/oom_score.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/sandbox/process_tree.h"

namespace kata::virtcontainers {
namespace {

// A process with a child, both of which only wait, in a program that has no thread but its own.
class OomScore : public testing::Test {
 protected:
  void SetUp() override {
    int ready[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    parent_ = ::fork();
    ASSERT_GE(parent_, 0);
    if (parent_ == 0) {
      const pid_t child = ::fork();
      if (child != 0 && ::write(ready[1], &child, sizeof(child)) < 0) ::_exit(1);
      ::execlp("sleep", "sleep", "1000", nullptr);
      ::_exit(1);
    }
    ::close(ready[1]);
    ASSERT_EQ(::read(ready[0], &child_, sizeof(child_)), static_cast<ssize_t>(sizeof(child_)));
    char none = 0;
    EXPECT_EQ(::read(ready[0], &none, 1), 0);  // both have executed it
    ::close(ready[0]);
  }
  void TearDown() override {
    for (pid_t pid : {child_, parent_}) ::kill(pid, SIGKILL);
    ::waitpid(parent_, nullptr, 0);
  }
  static std::string ScoreOf(pid_t pid) {
    return ReadFile("/proc/" + std::to_string(pid) + "/oom_score_adj", 16).value_or("none");
  }

  pid_t parent_ = 0;
  pid_t child_ = 0;
};

TEST_F(OomScore, IsRaisedOfAProcessAndItsDescendantsAndNeverLowered) {
  ASSERT_TRUE(RaiseOomScore({parent_}, 600).ok());
  EXPECT_EQ(ScoreOf(parent_), "600\n");
  EXPECT_EQ(ScoreOf(child_), "600\n");
  ASSERT_TRUE(RaiseOomScore({parent_}, -900).ok());
  EXPECT_EQ(ScoreOf(parent_), "600\n");
  ASSERT_TRUE(RaiseOomScore({parent_}, 700).ok());
  EXPECT_EQ(ScoreOf(child_), "700\n");
}

TEST_F(OomScore, AProcessThatIsNotThereIsAnError) {
  const absl::Status status = RaiseOomScore({1 << 30}, 600);
  EXPECT_NE(status.message().find("process.oomScoreAdj 600"), std::string::npos) << status;
}

TEST_F(OomScore, TheTreeOfAProcess) {
  EXPECT_EQ(WithDescendants(parent_), (std::vector<pid_t>{parent_, child_}));
  EXPECT_EQ(ThreadsOf(child_), std::vector<pid_t>{child_});
  EXPECT_TRUE(ThreadsOf(1 << 30).empty());
}

}  // namespace
}  // namespace kata::virtcontainers
