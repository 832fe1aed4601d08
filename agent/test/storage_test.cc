// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/storage.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

class FindDiskTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(directory_); }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void AddDisk(const std::string& name, const std::string& serial) {
    std::filesystem::create_directories(directory_ + "/" + name);
    std::ofstream(directory_ + "/" + name + "/serial") << serial;
  }

  const std::string directory_ = testing::TempDir() + "find-disk-" + std::to_string(::getpid());
};

TEST_F(FindDiskTest, BySerialWhateverTheName) {
  std::filesystem::create_directories(directory_ + "/loop0");  // has no serial
  AddDisk("vda", "one");
  AddDisk("vdb", "two\n");
  EXPECT_EQ(FindDisk(directory_, "two").value_or(""), "/dev/vdb");
  EXPECT_EQ(FindDisk(directory_, "one").value_or(""), "/dev/vda");
  // Neither a part of one nor the empty serial of another.
  EXPECT_TRUE(absl::IsNotFound(FindDisk(directory_, "tw").status()));
}

TEST_F(FindDiskTest, OfScsiByItsVitalData) {
  const std::string device = directory_ + "/sda/device";
  std::filesystem::create_directories(device);
  std::ofstream(device + "/vpd_pg80", std::ios::binary) << std::string("\x00\x80\x00\x03one", 7);
  EXPECT_EQ(FindDisk(directory_, "one").value_or(""), "/dev/sda");
  EXPECT_TRUE(absl::IsNotFound(FindDisk(directory_, "").status()));
}

TEST_F(FindDiskTest, NoDirectoryIsAnErrorOfItsOwn) {
  const absl::Status status = FindDisk(directory_ + "/none", "x").status();
  EXPECT_FALSE(status.ok());
  EXPECT_FALSE(absl::IsNotFound(status)) << status;  // not to be waited for
}

TEST(MountStorageTest, TheMountPointIsAbsolute) {
  v1::Storage storage;
  storage.set_mount_point("run/x");
  EXPECT_TRUE(absl::IsInvalidArgument(MountStorage(storage)));
}

}  // namespace
}  // namespace kata::agent
