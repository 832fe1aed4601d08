// SPDX-License-Identifier: Apache-2.0
#include "agent/process/lookup.h"

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

TEST(FindProgram, SearchesThePath) {
  auto found = FindProgram("sh", "/no/such/directory:/bin");

  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, "/bin/sh");
}

TEST(FindProgram, HasTheTextsThatEnginesLookFor) {
  EXPECT_EQ(FindProgram("no-such-program", "/bin").status().message(),
            "exec: \"no-such-program\": executable file not found in $PATH");
  EXPECT_EQ(FindProgram("/no/such", "/bin").status().message(), "exec: \"/no/such\": no such file or directory");
  EXPECT_EQ(FindProgram("/etc/passwd/x", "/bin").status().message(), "exec: \"/etc/passwd/x\": not a directory");
  EXPECT_EQ(FindProgram("/etc", "/bin").status().message(), "exec: \"/etc\": is a directory");
  EXPECT_EQ(FindProgram("/etc/passwd", "/bin").status().message(), "exec: \"/etc/passwd\": permission denied");
}

TEST(EnvironmentValue, MatchesTheWholeName) {
  EXPECT_EQ(EnvironmentValue({"PATHS=x", "PATH=/bin"}, "PATH"), "/bin");
  EXPECT_EQ(EnvironmentValue({"PATHS=x"}, "PATH"), "");
}

TEST(DistinctEnvironment, KeepsTheLastValueAtTheFirstPlace) {
  EXPECT_EQ(DistinctEnvironment({"A=1", "B=2", "A=3", "AB=4", "A="}), (std::vector<std::string>{"A=", "B=2", "AB=4"}));
}

TEST(SetEnvironmentValue, ReplacesOrAdds) {
  std::vector<std::string> env = {"HOME=", "HOMES=x"};
  SetEnvironmentValue(env, "HOME", "/root");
  SetEnvironmentValue(env, "PATH", "/bin");

  EXPECT_EQ(env, (std::vector<std::string>{"HOME=/root", "HOMES=x", "PATH=/bin"}));
}

}  // namespace
}  // namespace kata::agent
