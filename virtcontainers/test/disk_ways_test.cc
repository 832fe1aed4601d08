// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/disk_ways.h"

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using hypervisors::DiskAio;
using hypervisors::DiskCache;

TEST(DiskWaysTest, TheCacheIsTheConfigurationsWhereItCounts) {
  Config config;
  config.block_device_cache_direct = true;
  EXPECT_EQ(DiskWaysOf(config).cache, DiskCache::kDefault);
  config.block_device_cache_set = true;
  EXPECT_EQ(DiskWaysOf(config).cache, DiskCache::kDirect);
  config.block_device_cache_direct = false;
  EXPECT_EQ(DiskWaysOf(config).cache, DiskCache::kWriteBack);
  config.block_device_cache_noflush = true;
  EXPECT_EQ(DiskWaysOf(config).cache, DiskCache::kUnsafe);
}

TEST(DiskWaysTest, IoUringIsUsedWhereTheHostHasIt) {
  Config config;
  config.block_device_aio = DiskAio::kIoUring;
  EXPECT_EQ(DiskWaysOf(config).aio, WhyNoIoUring().empty() ? DiskAio::kIoUring : DiskAio::kThreads);
  config.block_device_aio = DiskAio::kNative;
  EXPECT_EQ(DiskWaysOf(config).aio, DiskAio::kNative);
}

TEST(DiskWaysTest, AHostMayForbidIoUring) {
  TestDirectory directory;
  const std::string setting = directory.path() + "/io_uring_disabled";
  ASSERT_TRUE(WriteFileAtomically(setting, "1\n", 0600).ok());
  EXPECT_EQ(WhyNoIoUring(setting), "kernel.io_uring_disabled is 1");
}

}  // namespace
}  // namespace kata::virtcontainers
