// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/fs_group.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

constexpr uint32_t kGroup = 4321;

class FsGroupTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    std::filesystem::create_directories(directory_ + "/sub/deep");
    for (const char* name : {"/file", "/sub/deep/file"}) std::ofstream(directory_ + name) << "x";
    ASSERT_EQ(::chmod((directory_ + "/file").c_str(), 0400), 0);
    ASSERT_EQ(::chmod((directory_ + "/sub/deep/file").c_str(), 04711), 0);
    std::ofstream(outside_) << "x";
    std::filesystem::create_symlink(outside_, directory_ + "/link");
    group_.set_gid(kGroup);
  }
  void TearDown() override {
    std::filesystem::remove_all(directory_);
    std::filesystem::remove(outside_);
  }
  struct stat Look(const std::string& name) const {
    struct stat info {};
    EXPECT_EQ(::lstat((directory_ + name).c_str(), &info), 0) << name;
    return info;
  }

  const std::string directory_ = testing::TempDir() + "fs-group-" + std::to_string(::getpid());
  const std::string outside_ = directory_ + ".outside";
  v1::FsGroup group_;
};

TEST_F(FsGroupTest, AllGetItAndItsRights) {
  group_.set_is_always(true);
  ASSERT_EQ(ApplyGroup(directory_, group_), 0);
  for (const char* name : {"", "/sub", "/sub/deep", "/file", "/sub/deep/file", "/link"})
    EXPECT_EQ(Look(name).st_gid, kGroup) << name;
  EXPECT_EQ(Look("/file").st_mode & 07777, 0460u);
  EXPECT_EQ(Look("/sub/deep/file").st_mode & 07777, 04771u);
  EXPECT_EQ(Look("/sub").st_mode & 07070, 02070u);
  struct stat info {};
  ASSERT_EQ(::stat(outside_.c_str(), &info), 0);  // behind the link
  EXPECT_EQ(info.st_gid, 0u);
}

TEST_F(FsGroupTest, OfARootThatHasItNothingIsDoneUnlessAlways) {
  ASSERT_EQ(ApplyGroup(directory_, group_), 0);
  ASSERT_EQ(::chown((directory_ + "/file").c_str(), 0, 7), 0);
  ASSERT_EQ(ApplyGroup(directory_, group_), 0);
  EXPECT_EQ(Look("/file").st_gid, 7u);
  group_.set_is_always(true);
  ASSERT_EQ(ApplyGroup(directory_, group_), 0);
  EXPECT_EQ(Look("/file").st_gid, kGroup);
}

TEST_F(FsGroupTest, WhatIsNotThereIsAnError) { EXPECT_EQ(ApplyGroup(directory_ + "/none", group_), ENOENT); }

}  // namespace
}  // namespace kata::agent
