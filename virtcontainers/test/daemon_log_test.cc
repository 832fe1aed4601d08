// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/daemon_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kata::virtcontainers {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr DaemonLines::Clock::time_point kBegin{std::chrono::hours(1)};

TEST(DaemonLines, AreWholeAndPrintable) {
  DaemonLines lines;
  EXPECT_THAT(lines.Add("one\n\nt", kBegin), ElementsAre("one"));
  EXPECT_THAT(lines.Add("wo \x1b[31m\nthr", kBegin), ElementsAre("two  [31m"));
}

TEST(DaemonLines, OfAnyLengthAreCut) {
  DaemonLines lines;
  EXPECT_THAT(lines.Add(std::string(100000, 'x'), kBegin), IsEmpty());
  EXPECT_THAT(lines.Add("\nnext\n", kBegin), ElementsAre(std::string(kDaemonLineMax, 'x'), "next"));
}

TEST(DaemonLines, AFloodIsDroppedAndCounted) {
  DaemonLines lines;
  std::string flood;
  for (int i = 0; i < 1000; ++i) flood += "again\n";
  EXPECT_EQ(lines.Add(flood, kBegin).size(), static_cast<size_t>(kDaemonLinesAtOnce));
  EXPECT_THAT(lines.Add("more\n", kBegin), IsEmpty());
  EXPECT_THAT(lines.Add("later\nlast\n", kBegin + kDaemonLinePause),
              ElementsAre("later (951 lines before it were dropped)"));
}

}  // namespace
}  // namespace kata::virtcontainers
