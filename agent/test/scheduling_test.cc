// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/scheduling.h"

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

using Cpus = std::vector<unsigned>;

TEST(CpuList, ReadsAndWritesWhatTheKernelDoes) {
  auto cpus = ParseCpuList("0-2, 7,1\n");
  ASSERT_TRUE(cpus.ok()) << cpus.status();
  EXPECT_EQ(*cpus, (Cpus{0, 1, 2, 7}));
  EXPECT_EQ(CpuListText(*cpus), "0-2,7");
  EXPECT_TRUE(ParseCpuList("")->empty());
  EXPECT_EQ(CpuListText({}), "");
}

TEST(CpuList, RefusesWhatIsNone) {
  for (const char* text : {"a", "1-", "-1", "2-1", "1-2-3", "0,8192", "0-4294967295"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseCpuList(text).status())) << text;
}

TEST(GuestCpus, LeavesASetThatTheGuestHas) {
  EXPECT_EQ(GuestCpus({0, 2}, {0, 1, 2, 3}), (Cpus{0, 2}));
  EXPECT_EQ(GuestCpus({0}, {0}), (Cpus{0}));
}

TEST(GuestCpus, StandsInForProcessorsOfTheHost) {
  EXPECT_EQ(GuestCpus({1}, {0}), (Cpus{0}));
  EXPECT_EQ(GuestCpus({17}, {0, 1}), (Cpus{1}));
  EXPECT_EQ(GuestCpus({16}, {0, 1}), (Cpus{0}));
  // As many as were asked for, also when two of them fall on one.
  EXPECT_EQ(GuestCpus({4, 8}, {0, 1, 2, 3}), (Cpus{0, 1}));
  EXPECT_EQ(GuestCpus({4, 5, 6, 7}, {0, 1}), (Cpus{0, 1}));
  EXPECT_EQ(GuestCpus({5}, {}), (Cpus{5}));
}

}  // namespace
}  // namespace kata::agent
