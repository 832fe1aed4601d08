// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kata::hypervisors {
namespace {

using ::testing::HasSubstr;

class AcceleratorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/kata-accelerator-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    directory_ = pattern;
    ASSERT_EQ(chmod(pattern, 0755), 0);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string Make(const std::string& name, mode_t mode) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << "x";
    chmod(path.c_str(), mode);
    return path;
  }
  std::string directory_;
};

TEST_F(AcceleratorTest, AutoFallsBackWithReasonWhenDeviceIsMissing) {
  const AcceleratorChoice choice =
      ChooseAccelerator(Accelerator::kAuto, 12345, 12345, directory_ + "/kvm", directory_);
  EXPECT_FALSE(choice.is_kvm);
  EXPECT_THAT(choice.why_not_kvm, HasSubstr("no such file"));
}

TEST_F(AcceleratorTest, AutoFallsBackWhenUserMayNotOpenDevice) {
  const std::string device = Make("kvm", 0600);
  std::filesystem::create_directory(directory_ + "/kvm_intel");
  const AcceleratorChoice choice = ChooseAccelerator(Accelerator::kAuto, 12345, 12345, device, directory_);
  EXPECT_FALSE(choice.is_kvm);
  EXPECT_THAT(choice.why_not_kvm, HasSubstr("permission denied"));
}

TEST_F(AcceleratorTest, AutoNeedsAModuleOfTheProcessor) {
  const std::string device = Make("kvm", 0666);
#if defined(__x86_64__)
  EXPECT_FALSE(ChooseAccelerator(Accelerator::kAuto, 12345, 12345, device, directory_).is_kvm);
  std::filesystem::create_directory(directory_ + "/kvm_amd");
#endif
  EXPECT_TRUE(ChooseAccelerator(Accelerator::kAuto, 12345, 12345, device, directory_).is_kvm);
}

TEST_F(AcceleratorTest, ForcedChoicesAreTaken) {
  const std::string missing = directory_ + "/kvm";
  EXPECT_TRUE(ChooseAccelerator(Accelerator::kKvm, 1, 1, missing, directory_).is_kvm);
  const AcceleratorChoice tcg = ChooseAccelerator(Accelerator::kTcg, 1, 1, missing, directory_);
  EXPECT_FALSE(tcg.is_kvm);
  EXPECT_EQ(tcg.why_not_kvm, "");
}

TEST_F(AcceleratorTest, CheckFileNamesFileKeyAndFix) {
  const std::string path = directory_ + "/vmlinux";
  EXPECT_EQ(CheckFile(path, "kernel", 12345, 12345, false).message(),
            "kernel \"" + path + "\" of configuration key \"kernel\": no such file or directory; run tools/build or "
            "correct the key");
}

TEST_F(AcceleratorTest, CheckFileAsksForTheMachinesUser) {
  const std::string path = Make("initrd", 0600);
  EXPECT_TRUE(CheckFile(path, "initrd", 0, 0, false).ok());
  EXPECT_EQ(CheckFile(path, "initrd", 12345, 12345, false).code(), absl::StatusCode::kPermissionDenied);
  // The check must not leave its rights behind.
  EXPECT_TRUE(CheckFile(path, "initrd", 0, 0, false).ok());
}

}  // namespace
}  // namespace kata::hypervisors
