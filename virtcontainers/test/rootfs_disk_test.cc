// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/rootfs_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace kata::virtcontainers {
namespace {

using Words = std::vector<std::string>;

class RootfsDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(image_).close();
    std::filesystem::resize_file(image_, 1u << 20);
  }
  void TearDown() override { std::filesystem::remove(image_); }
  std::optional<ContainerDisk> Find(const std::string& type, const Words& options, const std::string& target = "") {
    auto found = FindRootfsDisk({{type, image_, target, options}}, "/run/disks/c.0");
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : std::nullopt;
  }

  const std::string image_ = testing::TempDir() + "rootfs-disk-" + std::to_string(::getpid());
};

TEST_F(RootfsDiskTest, AnImageIsADisk) {
  const auto disk = Find("ext4", {"loop", "direct-io", "noatime", "data=ordered"});
  ASSERT_TRUE(disk.has_value());
  EXPECT_EQ(disk->source, image_);
  EXPECT_FALSE(disk->file.is_read_only);
  const auto& mounted = std::get<MountedDisk>(disk->use);
  EXPECT_EQ(mounted.type, "ext4");
  EXPECT_EQ(mounted.mount_point, "/run/disks/c.0");
  EXPECT_EQ(mounted.options, Words({"noatime", "data=ordered"}));
}

TEST_F(RootfsDiskTest, WhatIsReadIsOpenedForReading) {
  EXPECT_TRUE(Find("xfs", {"loop", "ro"})->file.is_read_only);
  const auto erofs = Find("erofs", {"loop"});
  EXPECT_TRUE(erofs->file.is_read_only);
  EXPECT_EQ(std::get<MountedDisk>(erofs->use).options, Words({"ro"}));
}

TEST_F(RootfsDiskTest, AnythingElseIsForTheHost) {
  EXPECT_FALSE(Find("btrfs", {"loop"}).has_value());
  EXPECT_FALSE(Find("overlay", {"lowerdir=/a:/b"}).has_value());
  EXPECT_FALSE(Find("ext4", {}).has_value());  // no loop: it means a device, and this is none
  EXPECT_FALSE(Find("ext4", {"loop"}, "below").has_value());
  EXPECT_FALSE(Find("ext4", {"loop", "uidmap=0:1000:10"}).has_value());
  EXPECT_FALSE(Find("ext4", {"loop", "X-containerd.mkdir.path=/x"}).has_value());
  EXPECT_FALSE(Find("ext4", {"loop", "bind"}).has_value());
  EXPECT_FALSE(Find("ext4", {"loop", "rslave"}).has_value());
  const RootfsMount one{"ext4", image_, "", {"loop"}};
  EXPECT_FALSE(FindRootfsDisk({one, one}, "/x")->has_value());
  EXPECT_FALSE(FindRootfsDisk({}, "/x")->has_value());
}

TEST_F(RootfsDiskTest, AnImageThatIsNotThereIsNamed) {
  const absl::Status status = FindRootfsDisk({{"ext4", "/nowhere/image", "", {"loop"}}}, "/x").status();
  EXPECT_NE(status.message().find("\"/nowhere/image\""), std::string::npos) << status;
}

}  // namespace
}  // namespace kata::virtcontainers
