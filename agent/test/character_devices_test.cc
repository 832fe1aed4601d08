// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/character_devices.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

class CharacterDevicesTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(known_ + "/1:3"); }
  void TearDown() override { std::filesystem::remove_all(known_); }
  static ContainerSpec With(unsigned major, unsigned minor, mode_t type = S_IFCHR) {
    ContainerSpec spec;
    Device device;
    device.path = "/dev/it";
    device.type = type;
    device.major = major;
    device.minor = minor;
    spec.devices.push_back(device);
    return spec;
  }
  static DeviceRule Rule(bool allow, std::optional<uint32_t> major, std::optional<uint32_t> minor) {
    DeviceRule rule;
    rule.allow = allow;
    rule.type = 'c';
    rule.major = major;
    rule.minor = minor;
    return rule;
  }

  const std::string known_ = testing::TempDir() + "character-devices-" + std::to_string(::getpid());
};

TEST_F(CharacterDevicesTest, OneThatTheGuestDoesNotHaveIsNamed) {
  ContainerSpec spec = With(10, 232);
  spec.resources.device_rules = {Rule(false, {}, {}), Rule(true, 10, 232)};
  const absl::Status status = CheckCharacterDevices(spec, known_);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(status.message().find("\"/dev/it\": the guest has no character device 10:232"), std::string::npos)
      << status;
}

TEST_F(CharacterDevicesTest, WhatTheGuestHasOrNobodyAskedForIsLetBe) {
  ContainerSpec there = With(1, 3);
  there.resources.device_rules = {Rule(true, 1, 3)};
  EXPECT_TRUE(CheckCharacterDevices(there, known_).ok());
  ContainerSpec all = With(10, 232);
  all.resources.device_rules = {Rule(true, {}, {}), Rule(true, 10, {}), Rule(false, 10, 232)};
  EXPECT_TRUE(CheckCharacterDevices(all, known_).ok());
  ContainerSpec disk = With(10, 232, S_IFBLK);
  disk.resources.device_rules = {Rule(true, 10, 232)};
  EXPECT_TRUE(CheckCharacterDevices(disk, known_).ok());
}

}  // namespace
}  // namespace kata::agent
