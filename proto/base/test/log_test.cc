// SPDX-License-Identifier: Apache-2.0
#include "proto/base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/fd.h"

namespace kata {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// One test: a process keeps one log.
TEST(LogTest, IsKeptFromItsBeginningAndBounded) {
  std::string directory = testing::TempDir() + "/log-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const UniqueFd sink(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  log::SetSink(sink.get());
  const std::string file = directory + "/log";

  log::Info("before it is kept");
  log::WillKeep();
  log::Info("before there is a file");
  EXPECT_FALSE(log::KeepIn("/there/is/none", "log").ok());
  ASSERT_TRUE(log::KeepIn(directory, "log").ok());
  log::Info("after");
  log::Debug("of no level");

  const std::string kept = ReadFile(file, 1u << 20).value_or("");
  EXPECT_THAT(kept, HasSubstr("msg=\"before there is a file\"\n"));
  EXPECT_THAT(kept, HasSubstr("msg=\"after\"\n"));
  EXPECT_THAT(kept, Not(HasSubstr("before it is kept")));
  EXPECT_THAT(kept, Not(HasSubstr("of no level")));

  const std::string filler(1000, 'x');
  for (size_t i = 0; i < 3 * log::kKeptMax / filler.size(); ++i) log::Info("{}{}", i, filler);
  log::Info("the last");
  EXPECT_LE(std::filesystem::file_size(file), log::kKeptMax);
  EXPECT_LE(std::filesystem::file_size(file + ".old"), log::kKeptMax);
  EXPECT_GT(std::filesystem::file_size(file + ".old"), log::kKeptMax / 2);
  EXPECT_THAT(ReadFile(file, 1u << 20).value_or(""), HasSubstr("msg=\"the last\""));

  // As when the pod is over.
  std::filesystem::rename(file, directory + "/moved");
  log::Info("where it went");
  EXPECT_THAT(ReadFile(directory + "/moved", 1u << 20).value_or(""), HasSubstr("msg=\"where it went\""));
  std::filesystem::remove_all(directory);
  for (size_t i = 0; i < 2 * log::kKeptMax / filler.size(); ++i) log::Info("{}", filler);
  log::SetSink(2);
}

}  // namespace
}  // namespace kata
