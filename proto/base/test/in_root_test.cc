// SPDX-License-Identifier: Apache-2.0
#include "proto/base/in_root.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

namespace kata {
namespace {

class InRoot : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "kata-in-root-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top_ = name;
    ASSERT_TRUE(MakeDirs(top_ + "/root/run", 0755).ok());
    ASSERT_TRUE(MakeDirs(top_ + "/outside", 0755).ok());
    root_.reset(::open((top_ + "/root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(root_.valid());
  }
  void TearDown() override { std::filesystem::remove_all(top_); }
  bool Exists(const std::string& path) { return std::filesystem::exists(top_ + path); }

  std::string top_;
  UniqueFd root_;
};

TEST_F(InRoot, MakesWhatIsMissing) {
  EXPECT_TRUE(MakeInRoot(root_.get(), "/a/b/c", true).ok());
  EXPECT_TRUE(MakeInRoot(root_.get(), "a/b/file", false).ok());
  EXPECT_TRUE(MakeInRoot(root_.get(), "", true).ok());
  EXPECT_TRUE(std::filesystem::is_directory(top_ + "/root/a/b/c"));
  EXPECT_TRUE(std::filesystem::is_regular_file(top_ + "/root/a/b/file"));
}

TEST_F(InRoot, LinksAndDotsStayInside) {
  ASSERT_EQ(::symlink((top_ + "/outside").c_str(), (top_ + "/root/absolute").c_str()), 0);
  ASSERT_EQ(::symlink("../../../../run", (top_ + "/root/var").c_str()), 0);
  MakeInRoot(root_.get(), "absolute/x", true).IgnoreError();
  EXPECT_FALSE(Exists("/outside/x"));
  EXPECT_TRUE(MakeInRoot(root_.get(), "var/x", true).ok());
  EXPECT_TRUE(Exists("/root/run/x"));
  EXPECT_TRUE(MakeInRoot(root_.get(), "../../y", true).ok());
  EXPECT_TRUE(Exists("/root/y"));
  EXPECT_FALSE(Exists("/y"));
}

TEST_F(InRoot, WhatALinkLeadsToIsMadeInside) {
  ASSERT_TRUE(MakeDirs(top_ + "/root/etc", 0755).ok());
  ASSERT_EQ(::symlink("/run/new/resolv.conf", (top_ + "/root/etc/resolv.conf").c_str()), 0);
  ASSERT_EQ(::symlink("../../../next", (top_ + "/root/etc/first").c_str()), 0);
  ASSERT_EQ(::symlink("etc/last", (top_ + "/root/next").c_str()), 0);
  ASSERT_EQ(::symlink((top_ + "/outside/made").c_str(), (top_ + "/root/out").c_str()), 0);

  EXPECT_TRUE(MakeInRoot(root_.get(), "/etc/resolv.conf", false).ok());
  EXPECT_TRUE(MakeInRoot(root_.get(), "/etc/first/below", true).ok());
  EXPECT_TRUE(MakeInRoot(root_.get(), "/out", true).ok());

  EXPECT_TRUE(std::filesystem::is_regular_file(top_ + "/root/run/new/resolv.conf"));
  EXPECT_TRUE(std::filesystem::is_directory(top_ + "/root/etc/last/below"));
  EXPECT_TRUE(std::filesystem::is_directory(top_ + "/root" + top_ + "/outside/made"));
  EXPECT_FALSE(Exists("/outside/made"));
}

TEST_F(InRoot, LinksWithoutEndAreAnError) {
  ASSERT_EQ(::symlink("two/x", (top_ + "/root/one").c_str()), 0);
  ASSERT_EQ(::symlink("one/x", (top_ + "/root/two").c_str()), 0);
  EXPECT_FALSE(MakeInRoot(root_.get(), "one", true).ok());
}

TEST_F(InRoot, AFileIsNoDirectory) {
  ASSERT_TRUE(MakeInRoot(root_.get(), "file", false).ok());
  EXPECT_FALSE(MakeInRoot(root_.get(), "file/x", true).ok());
}

}  // namespace
}  // namespace kata
