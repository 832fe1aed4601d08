// SPDX-License-Identifier: Apache-2.0
// What would be done to the clock; nothing here touches one.
#include "agent/clock.h"

#include <limits>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr int64_t kSent = 1'700'000'000'000'000'000;
constexpr int64_t kMs = 1'000'000;

TEST(HostClockNow, AddsHalfOfWhatWasOnTheWay) {
  EXPECT_EQ(HostClockNow(kSent, milliseconds(100), milliseconds(130)), kSent + 15 * kMs);
}

TEST(HostClockNow, TakesTheClockAsItIsFromAHostThatSaysNoMore) {
  EXPECT_EQ(HostClockNow(kSent, nanoseconds(0), seconds(3)), kSent);
}

TEST(HostClockNow, BelievesNoWayThatIsNegativeOrVeryLong) {
  EXPECT_EQ(HostClockNow(kSent, milliseconds(10), milliseconds(4)), kSent);
  EXPECT_EQ(HostClockNow(kSent, milliseconds(10), seconds(100)), kSent + 1000 * kMs);
}

TEST(MakeCorrection, StepsForward) {
  const timex change = MakeCorrection(2'500'000'001, true);

  EXPECT_EQ(change.modes, static_cast<unsigned>(ADJ_SETOFFSET | ADJ_NANO));
  EXPECT_EQ(change.time.tv_sec, 2);
  EXPECT_EQ(change.time.tv_usec, 500'000'001);
}

TEST(MakeCorrection, StepsBackFarWithANanosecondsPartAboveZero) {
  const timex change = MakeCorrection(-2'500'000'001, true);

  EXPECT_EQ(change.modes, static_cast<unsigned>(ADJ_SETOFFSET | ADJ_NANO));
  EXPECT_EQ(change.time.tv_sec, -3);
  EXPECT_EQ(change.time.tv_usec, 499'999'999);
}

TEST(MakeCorrection, SlowsDownForALittleWhileProgramsRun) {
  const timex change = MakeCorrection(-3 * kMs, true);

  EXPECT_EQ(change.modes, static_cast<unsigned>(ADJ_OFFSET_SINGLESHOT));
  EXPECT_EQ(change.offset, -3000);  // microseconds
}

TEST(MakeCorrection, StepsBackWhileNobodySeesIt) {
  const timex change = MakeCorrection(-3 * kMs, false);

  EXPECT_EQ(change.modes, static_cast<unsigned>(ADJ_SETOFFSET | ADJ_NANO));
  EXPECT_EQ(change.time.tv_sec, -1);
  EXPECT_EQ(change.time.tv_usec, 997 * kMs);
}

TEST(MakeCorrection, HasAFormForEveryNumber) {
  for (int64_t number : {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
    const timex change = MakeCorrection(number, true);

    EXPECT_GE(change.time.tv_usec, 0);
    EXPECT_LT(change.time.tv_usec, 1'000'000'000);
  }
}

}  // namespace
}  // namespace kata::agent
