// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/accelerator.h"

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
  // A spec of an unprivileged user whose emulator prints what `script` says.
  VmSpec Spec(Accelerator wanted, const std::string& script = "echo 'Run /init as init process'; exec sleep 1000") {
    VmSpec spec;
    spec.accelerator = wanted;
    spec.uid = 12345;
    spec.gid = 12345;
    spec.emulator = Make("qemu", 0755);
    std::ofstream(spec.emulator) << "#!/bin/sh\n" << script << "\n";
    spec.kernel = Make("vmlinux", 0644);
    spec.initrd = Make("initrd", 0644);
    return spec;
  }
  std::string directory_;
};

TEST_F(AcceleratorTest, AutoFallsBackWithReasonWhenDeviceIsMissing) {
  const AcceleratorChoice choice = ChooseAccelerator(Spec(Accelerator::kAuto), directory_ + "/kvm", directory_);
  EXPECT_FALSE(choice.is_kvm);
  EXPECT_THAT(choice.why_not_kvm, HasSubstr("no such file"));
}

TEST_F(AcceleratorTest, AutoFallsBackWhenUserMayNotOpenDevice) {
  const std::string device = Make("kvm", 0600);
  std::filesystem::create_directory(directory_ + "/kvm_intel");
  const AcceleratorChoice choice = ChooseAccelerator(Spec(Accelerator::kAuto), device, directory_);
  EXPECT_FALSE(choice.is_kvm);
  EXPECT_THAT(choice.why_not_kvm, HasSubstr("permission denied"));
}

TEST_F(AcceleratorTest, AutoNeedsAModuleOfTheProcessor) {
  const std::string device = Make("kvm", 0666);
#if defined(__x86_64__)
  EXPECT_FALSE(ChooseAccelerator(Spec(Accelerator::kAuto), device, directory_).is_kvm);
  std::filesystem::create_directory(directory_ + "/kvm_amd");
#endif
  EXPECT_TRUE(ChooseAccelerator(Spec(Accelerator::kAuto), device, directory_).is_kvm);
}

// As on a host that answers every call of KVM and yet lets no kernel start.
TEST_F(AcceleratorTest, AutoFallsBackWhenTheProbeBootFails) {
  const std::string device = Make("kvm", 0666);
  std::filesystem::create_directory(directory_ + "/kvm_intel");
  const AcceleratorChoice choice =
      ChooseAccelerator(Spec(Accelerator::kAuto, "echo could not start >&2"), device, directory_);
  EXPECT_FALSE(choice.is_kvm);
  EXPECT_EQ(choice.why_not_kvm, "boot a guest under kvm: the machine ended; it wrote: could not start");
}

TEST_F(AcceleratorTest, ForcedChoicesAreTaken) {
  const std::string missing = directory_ + "/kvm";
  const AcceleratorChoice kvm = ChooseAccelerator(Spec(Accelerator::kKvm), missing, directory_);
  EXPECT_TRUE(kvm.is_kvm);
  EXPECT_NE(kvm.why_not_kvm, "");
  const AcceleratorChoice tcg = ChooseAccelerator(Spec(Accelerator::kTcg), missing, directory_);
  EXPECT_FALSE(tcg.is_kvm);
  EXPECT_EQ(tcg.why_not_kvm, "");
}

TEST_F(AcceleratorTest, CheckFileNamesFileKeyAndFix) {
  const std::string path = directory_ + "/vmlinux";
  EXPECT_EQ(CheckFile(path, "kernel", 12345, 12345, false).message(),
            "kernel \"" + path +
                "\" of configuration key \"kernel\": no such file or directory; correct the key, or "
                "install what it names");
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
