// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/hugepages.h"

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <gtest/gtest.h>

#include "proto/base/fd.h"

namespace kata::agent {
namespace {

// Plain files in the place of the kernel's: whatever is asked for is there. Of 1 GiB pages the file takes nothing.
class HugepagesTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* size : {"2048", "1048576"}) {
      std::filesystem::create_directories(pool(size));
      std::ofstream(pool(size) + "/nr_hugepages") << "0\n";
    }
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string pool(const std::string& size) const { return directory_ + "/hugepages-" + size + "kB"; }
  std::string Pages(const std::string& size) const {
    std::string text = ReadFile(pool(size) + "/nr_hugepages", 64).value_or("?");
    return text.substr(0, text.find('\n'));
  }

  const std::string directory_ = testing::TempDir() + "hugepages-" + std::to_string(::getpid());
  Hugepages hugepages_{directory_};
  const int first_ = 1, second_ = 2;  // whose addresses stand for containers
};

TEST_F(HugepagesTest, ThereAreAsManyAsAllContainersMayUse) {
  ASSERT_TRUE(hugepages_.Reserve(&first_, {{"2MB", 5u << 20}}).ok());
  EXPECT_EQ(Pages("2048"), "3");
  ASSERT_TRUE(hugepages_.Reserve(&second_, {{"2MB", 2u << 20}, {"1GB", 1u << 30}}).ok());
  EXPECT_EQ(Pages("2048"), "4");
  EXPECT_EQ(Pages("1048576"), "1");
  EXPECT_EQ(hugepages_.bytes(), (8u << 20) + (1u << 30));
  hugepages_.Release(&first_);
  EXPECT_EQ(hugepages_.bytes(), (2u << 20) + (1u << 30));
  hugepages_.Release(&second_);
  hugepages_.Release(&second_);
  EXPECT_EQ(hugepages_.bytes(), 0u);
}

TEST_F(HugepagesTest, MoreThanThereIsMemoryIsNotTried) {
  const std::string meminfo = directory_ + "/meminfo";
  std::ofstream(meminfo) << "MemTotal: 10240 kB\nMemAvailable: 6144 kB\n";
  Hugepages small(directory_, meminfo);
  ASSERT_TRUE(small.Reserve(&first_, {{"2MB", 2u << 20}}).ok());
  const absl::Status refused = small.Reserve(&second_, {{"2MB", 12u << 20}});
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_NE(std::string(refused.message()).find("room for 4 pages of 2048 KiB, the containers of the pod may use 7"),
            std::string::npos)
      << refused;
  EXPECT_EQ(Pages("2048"), "1");
  EXPECT_EQ(small.bytes(), 2u << 20);
}

TEST_F(HugepagesTest, AnUpdateLeavesWhatItDoesNotName) {
  ASSERT_TRUE(hugepages_.Reserve(&first_, {{"2MB", 4u << 20}}).ok());
  ASSERT_TRUE(hugepages_.Reserve(&first_, {}).ok());
  EXPECT_EQ(hugepages_.bytes(), 4u << 20);
  ASSERT_TRUE(hugepages_.Reserve(&first_, {{"2MB", 0}}).ok());
  EXPECT_EQ(hugepages_.bytes(), 0u);
}

TEST_F(HugepagesTest, WhatIsNoLimitOrNoSizeOfTheGuestsIsNothing) {
  ASSERT_TRUE(hugepages_.Reserve(&first_, {{"2MB", UINT64_MAX}, {"16GB", 1u << 30}, {"MB", 1}, {"", 1}}).ok());
  EXPECT_EQ(hugepages_.bytes(), 0u);
}

TEST_F(HugepagesTest, FewerThanAskedForIsAnErrorThatLeavesTheOthersTheirs) {
  ASSERT_TRUE(hugepages_.Reserve(&first_, {{"2MB", 2u << 20}}).ok());
  // Takes what is written and shows nothing.
  std::filesystem::remove(pool("1048576") + "/nr_hugepages");
  std::filesystem::create_symlink("/dev/null", pool("1048576") + "/nr_hugepages");
  const absl::Status status = hugepages_.Reserve(&second_, {{"2MB", 2u << 20}, {"1GB", 2u << 30}});
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_NE(status.message().find("room for 0 pages of 1048576 KiB"), std::string::npos) << status;
  EXPECT_EQ(Pages("2048"), "1");
  EXPECT_EQ(hugepages_.bytes(), 2u << 20);
}

}  // namespace
}  // namespace kata::agent
