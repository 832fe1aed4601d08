// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/block_devices.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

Device BlockAt(const std::string& path, unsigned major, unsigned minor) {
  return Device{.path = path, .type = S_IFBLK, .major = major, .minor = minor};
}
DeviceRule RuleFor(char type, unsigned major, unsigned minor) {
  return DeviceRule{.allow = true, .type = type, .major = major, .minor = minor, .access = BPF_DEVCG_ACC_READ};
}

TEST(RenumberDevicesTest, DevicesAndRulesGetTheGuestsNumbersEachOnce) {
  ContainerSpec spec;
  spec.devices = {BlockAt("/dev/a", 7, 0), BlockAt("/dev/b", 254, 0)};
  spec.resources.device_rules = {RuleFor('b', 7, 0), RuleFor('c', 7, 0), RuleFor('b', 254, 0), RuleFor('b', 7, 1)};
  // The first one's number in the guest is the second one's on the host.
  const std::vector<FoundDisk> disks = {{"/dev/a", 7, 0, "/dev/vda", 254, 0}, {"/dev/b", 254, 0, "/dev/vdb", 254, 16}};
  ASSERT_TRUE(RenumberDevices(disks, spec).ok());
  EXPECT_EQ(spec.devices[0].minor, 0u);
  EXPECT_EQ(spec.devices[0].major, 254u);
  EXPECT_EQ(spec.devices[0].source, "/dev/vda");
  EXPECT_EQ(spec.devices[1].minor, 16u);
  EXPECT_EQ(spec.resources.device_rules[0].major, 254u);
  EXPECT_EQ(spec.resources.device_rules[0].minor, 0u);
  EXPECT_EQ(spec.resources.device_rules[1].major, 7u);  // no block device
  EXPECT_EQ(spec.resources.device_rules[2].minor, 16u);
  EXPECT_EQ(spec.resources.device_rules[3].minor, 1u);  // another's
}

TEST(RenumberDevicesTest, ADiskThatTheSpecDoesNotHaveIsRefused) {
  ContainerSpec spec;
  spec.devices = {Device{.path = "/dev/a", .type = S_IFCHR, .major = 7, .minor = 0}};
  EXPECT_TRUE(absl::IsInvalidArgument(RenumberDevices({{"/dev/a", 7, 0, "/dev/vda", 254, 0}}, spec)));
}

}  // namespace
}  // namespace kata::agent
