// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/disk_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "virtcontainers/storage/loop_device.h"

namespace kata::virtcontainers {
namespace {

class DiskFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(directory_);
    std::ofstream(image_).close();
    std::filesystem::resize_file(image_, 1u << 20);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // Whether there is a loop device for the image, which `device_` is then.
  bool HasLoop() {
    auto loop = AttachLoopDevice(image_, LoopOptions(), device_);
    if (loop.ok()) loop_ = *std::move(loop);
    return loop_.valid();
  }

  const std::string directory_ = testing::TempDir() + "disk-file-" + std::to_string(::getpid());
  const std::string image_ = directory_ + "/image";
  std::string device_;
  UniqueFd loop_;
};

TEST_F(DiskFileTest, AFileIsOpenedAsItIsToBeUsed) {
  for (const bool is_read_only : {true, false}) {
    auto disk = OpenDiskFile(image_, is_read_only);
    ASSERT_TRUE(disk.ok()) << disk.status();
    EXPECT_EQ(disk->is_read_only, is_read_only);
    EXPECT_TRUE(disk->is_claimed);
    EXPECT_EQ(::fcntl(disk->file->get(), F_GETFL) & O_ACCMODE, is_read_only ? O_RDONLY : O_RDWR);
  }
}

TEST_F(DiskFileTest, WhatIsNoDiskIsRefusedByName) {
  const std::string fifo = directory_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::ofstream(directory_ + "/empty").close();
  for (const std::string& path : {fifo, directory_, std::string("/dev/null"), directory_ + "/empty"}) {
    const absl::Status status = OpenDiskFile(path, false).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(status.message().find("\"" + path + "\""), std::string::npos) << status;
  }
  EXPECT_FALSE(OpenDiskFile(directory_ + "/none", false).ok());
}

TEST_F(DiskFileTest, ADeviceIsClaimed) {
  if (!HasLoop()) GTEST_SKIP() << "no loop devices";
  auto first = OpenDiskFile(device_, false);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(first->is_claimed);
  EXPECT_FALSE(OpenDiskFile(device_, false)->is_claimed);
  EXPECT_TRUE(OpenDiskFile(device_, true)->is_claimed);  // a reader needs none
  first->file = nullptr;
  EXPECT_TRUE(OpenDiskFile(device_, false)->is_claimed);
}

TEST_F(DiskFileTest, ADeviceIsFoundByItsNumber) {
  if (!HasLoop()) GTEST_SKIP() << "no loop devices";
  struct stat info {};
  ASSERT_EQ(::stat(device_.c_str(), &info), 0);
  EXPECT_EQ(FindBlockDevice(major(info.st_rdev), minor(info.st_rdev)).value_or(""), device_);
  EXPECT_TRUE(absl::IsNotFound(FindBlockDevice(4000, 1).status()));
}

}  // namespace
}  // namespace kata::virtcontainers
