// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/direct_volume.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kata::virtcontainers {
namespace {

using testing::HasSubstr;

class DirectVolumeTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(volumes_);
    std::ofstream(image_).close();
    std::filesystem::resize_file(image_, 1u << 20);
  }
  void TearDown() override { std::filesystem::remove_all(volumes_); }

  // "/pods/v?>" in URL's base64.
  void Write(const std::string& text) const {
    std::filesystem::create_directories(volumes_ + "/L3BvZHMvdj8-");
    std::ofstream(volumes_ + "/L3BvZHMvdj8-/mountInfo.json") << text;
  }
  absl::StatusOr<std::optional<ContainerDisk>> Find(const std::string& path = "/pods/v?>") const {
    return FindDirectVolume(path, "/disks/c.0", volumes_);
  }
  std::string ErrorOf(const std::string& text) const {
    Write(text);
    return std::string(Find().status().message());
  }

  const std::string volumes_ = testing::TempDir() + "direct-" + std::to_string(::getpid());
  const std::string image_ = volumes_ + "/image";
};

TEST_F(DirectVolumeTest, IsADiskThatTheAgentMounts) {
  Write(
      R"({"volume-type":"block","device":")" + image_ +
      R"(","fstype":"xfs","options":["noatime"],"metadata":{"fsGroup":"1000","fsGroupChangePolicy":"OnRootMismatch"}})");
  const auto found = Find();
  ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
  const auto& mounted = std::get<MountedDisk>((*found)->use);
  EXPECT_EQ((*found)->source, image_);
  EXPECT_FALSE((*found)->file.is_read_only);
  EXPECT_EQ(mounted.type, "xfs");
  EXPECT_EQ(mounted.mount_point, "/disks/c.0");
  EXPECT_EQ(mounted.options, std::vector<std::string>({"noatime"}));
  ASSERT_TRUE(mounted.fs_group.has_value());
  EXPECT_EQ(mounted.fs_group->gid, 1000u);
  EXPECT_FALSE(mounted.fs_group->is_always);
}

TEST_F(DirectVolumeTest, ReadOnlyIsReadOnlyForTheMachineToo) {
  Write(R"({"volume-type":"directvol","device":")" + image_ + R"(","fstype":"ext4","options":["ro"]})");
  const auto found = Find();
  ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
  EXPECT_TRUE((*found)->file.is_read_only);
  EXPECT_FALSE(std::get<MountedDisk>((*found)->use).fs_group.has_value());
}

TEST_F(DirectVolumeTest, OtherPathsAreNone) {
  EXPECT_EQ(Find().value(), std::nullopt);
  Write("{}");
  EXPECT_EQ(Find("/pods/v").value(), std::nullopt);
  EXPECT_EQ(Find("/" + std::string(4000, 'x')).value(), std::nullopt);
}

TEST_F(DirectVolumeTest, WhatIsWrongIsNamed) {
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("direct volume \"/pods/v?>\""));
  EXPECT_THAT(ErrorOf(R"({"volume-type":"spdkvol"})"), HasSubstr("volume-type \"spdkvol\" is not supported"));
  EXPECT_THAT(ErrorOf(R"({"volume-type":"block","device":"vda","fstype":"ext4"})"), HasSubstr("no absolute path"));
  EXPECT_THAT(ErrorOf(R"({"volume-type":"block","device":"/dev/null"})"), HasSubstr("no fstype"));
  EXPECT_THAT(ErrorOf(R"({"volume-type":"block","device":"/dev/null","fstype":"ext4"})"),
              HasSubstr("neither a block device nor a file"));
  EXPECT_THAT(ErrorOf(R"({"volume-type":"block","device":"/x","fstype":"ext4","metadata":{"fsGroup":"-1"}})"),
              HasSubstr("\"-1\" is no group id"));
  EXPECT_THAT(ErrorOf(R"({"volume-type":"block","device":"/x","fstype":"ext4",
      "metadata":{"fsGroup":"1","fsGroupChangePolicy":"Never"}})"),
              HasSubstr("\"Never\""));
}

}  // namespace
}  // namespace kata::virtcontainers
