// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/accelerator/hidden_kvm.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

namespace fs = std::filesystem;

class HideKvmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0) GTEST_SKIP() << "needs root";
    char pattern[] = "/tmp/kata-hidden-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string directory_;
};

TEST_F(HideKvmTest, DeviceIsCoveredInTheThreadOnly) {
  const std::string device = directory_ + "/kvm";
  ASSERT_TRUE(WriteFileAtomically(device, "device", 0666).ok());
  struct stat hidden {};
  absl::Status status;

  std::thread thread([&] {
    status = HideKvm(device, directory_ + "/cover");
    stat(device.c_str(), &hidden);
  });
  thread.join();

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(hidden.st_size, 0);
  EXPECT_EQ(hidden.st_mode & 0777, 0u);
  EXPECT_EQ(*ReadFile(device, 100), "device");
}

TEST_F(HideKvmTest, NoDeviceNeedsNoCover) {
  EXPECT_TRUE(HideKvm(directory_ + "/kvm", directory_ + "/cover").ok());
  EXPECT_FALSE(fs::exists(directory_ + "/cover"));
}

TEST_F(HideKvmTest, CoverThatIsALinkIsNotFollowed) {
  ASSERT_TRUE(WriteFileAtomically(directory_ + "/kvm", "device", 0666).ok());
  fs::create_symlink(directory_ + "/elsewhere", directory_ + "/cover");

  EXPECT_FALSE(HideKvm(directory_ + "/kvm", directory_ + "/cover").ok());
  EXPECT_FALSE(fs::exists(directory_ + "/elsewhere"));
}

}  // namespace
}  // namespace kata::hypervisors
