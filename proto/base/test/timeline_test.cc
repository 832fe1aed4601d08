// SPDX-License-Identifier: Apache-2.0
#include "proto/base/timeline.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "proto/base/log.h"

namespace kata {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// One test: a process has one time line.
TEST(TimelineTest, IsKeptFromItsBeginningAndBounded) {
  std::string path = testing::TempDir() + "/timeline-XXXXXX";
  const UniqueFd file(::mkostemp(path.data(), O_CLOEXEC));
  ASSERT_TRUE(file.valid());
  const UniqueFd log_file(::open((path + ".log").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  log::SetSink(log_file.get());
  log::SetProcessFields("sandbox=one");

  timeline::Step("before there is a {}", "file");
  EXPECT_FALSE(timeline::KeepIn("/there/is/none").ok());
  ASSERT_TRUE(timeline::KeepIn(path).ok());
  timeline::Step("after");

  std::string kept = ReadFile(path, 1u << 20).value_or("");
  EXPECT_THAT(kept, HasSubstr("level=info msg=\"timeline: before there is a file\" sandbox=one\n"));
  EXPECT_THAT(kept, HasSubstr("msg=\"timeline: after\""));
  EXPECT_THAT(kept, Not(HasSubstr("lost-lines")));
  EXPECT_THAT(ReadFile(path + ".log", 1u << 20).value_or(""), HasSubstr("msg=\"timeline: after\""));

  ASSERT_EQ(timeline::Steps().size(), 2u);
  EXPECT_EQ(timeline::Steps()[0].step, "before there is a file");
  EXPECT_GT(timeline::Steps()[0].at_ns, 0);
  EXPECT_GE(timeline::Steps()[1].at_ns, timeline::Steps()[0].at_ns);

  for (size_t i = 0; i < 2 * timeline::kStepsMax; ++i) timeline::Step("more");
  kept = ReadFile(path, 1u << 20).value_or("");
  EXPECT_EQ(static_cast<size_t>(std::count(kept.begin(), kept.end(), '\n')), timeline::kStepsMax);
  EXPECT_EQ(timeline::Steps().size(), timeline::kStepsMax);
  log::SetSink(2);
  log::SetProcessFields("");
  ::unlink(path.c_str());
  ::unlink((path + ".log").c_str());
}

}  // namespace
}  // namespace kata
