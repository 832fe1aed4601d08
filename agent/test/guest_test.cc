// SPDX-License-Identifier: Apache-2.0
#include "agent/guest.h"

#include <gtest/gtest.h>

#include "agent/service.h"

namespace kata::agent {
namespace {

TEST(ParseCommandLine, KeepsValuesWithEqualsSigns) {
  auto words = ParseCommandLine("quiet agent.key=ab=c  agent.debug\n");

  EXPECT_EQ(words["agent.key"], "ab=c");
  EXPECT_EQ(words.count("agent.debug"), 1u);
  EXPECT_EQ(words["quiet"], "");
}

TEST(CheckId, RefusesWhatIsNoDirectoryName) {
  EXPECT_TRUE(CheckId("a0.b-c").ok());
  EXPECT_FALSE(CheckId("").ok());
  EXPECT_FALSE(CheckId("..").ok());
  EXPECT_FALSE(CheckId("a/b").ok());
  EXPECT_FALSE(CheckId("a b").ok());
  EXPECT_FALSE(CheckId(std::string(300, 'a')).ok());
}

}  // namespace
}  // namespace kata::agent
