// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/host_tsc.h"

#include <gtest/gtest.h>

namespace kata::hypervisors {
namespace {

TEST(HostTscTest, TwoMeasurementsAgree) {
  const uint32_t one = HostTscKhz();
  if (one == 0) GTEST_SKIP() << "no time stamp counter";
  EXPECT_GT(one, 100'000u);
  // The kernel in a guest takes 1 % as the same.
  EXPECT_NEAR(HostTscKhz(), one, one / 200.0);
}

}  // namespace
}  // namespace kata::hypervisors
