// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/share_limit.h"

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

using std::chrono::milliseconds;

TEST(ShareBudget, IsUsedUpByGrowthNotByWhatIsThere) {
  ShareBudget budget(20'000, 3'000);
  EXPECT_FALSE(budget.IsUsedUp(3'000));
  EXPECT_FALSE(budget.IsUsedUp(8'000));
  EXPECT_TRUE(budget.IsUsedUp(8'001));
  // A tmpfs full of files does not go away by forgetting: it is not to be tried again and again.
  budget.Forgotten(7'500);
  EXPECT_FALSE(budget.IsUsedUp(8'001));
  EXPECT_FALSE(budget.IsUsedUp(12'500));
  EXPECT_TRUE(budget.IsUsedUp(12'501));
}

TEST(ShareBudget, GrowthCountsFromTheLowestPoint) {
  ShareBudget budget(20'000, 12'500);
  EXPECT_FALSE(budget.IsUsedUp(1'000));
  EXPECT_TRUE(budget.IsUsedUp(6'001));
}

TEST(ShareBudget, LooksMoreOftenWhenLessIsLeft) {
  const ShareBudget budget(20'000, 0);
  EXPECT_EQ(budget.NextLook(0), milliseconds(100));
  EXPECT_EQ(budget.NextLook(2'500), milliseconds(50));
  EXPECT_EQ(budget.NextLook(5'000), milliseconds(20));
  EXPECT_EQ(budget.NextLook(50'000), milliseconds(20));
  EXPECT_EQ(ShareBudget(400'000, 0).NextLook(0), milliseconds(1000));
}

}  // namespace
}  // namespace kata::agent
