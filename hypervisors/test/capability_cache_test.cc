// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/capability_cache.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

TEST(CapabilityCacheTest, FilesOfOneRootReachTheNext) {
  char pattern[] = "/tmp/kata-capabilities-XXXXXX";
  ASSERT_NE(mkdtemp(pattern), nullptr);
  const std::string base = pattern;
  const std::string cache = base + "/cache";
  absl::StatusOr<int> seeded = SeedCapabilities(cache, base + "/first");
  ASSERT_TRUE(seeded.ok()) << seeded.status();
  EXPECT_EQ(*seeded, 0);

  std::ofstream(base + "/first/cache/qemu/capabilities/abc.xml") << "<qemuCaps/>";
  std::ofstream(base + "/first/cache/qemu/capabilities/other.tmp") << "no";
  ASSERT_TRUE(StoreCapabilities(cache, base + "/first").ok());
  EXPECT_FALSE(std::filesystem::exists(cache + "/other.tmp"));

  seeded = SeedCapabilities(cache, base + "/second");
  ASSERT_TRUE(seeded.ok()) << seeded.status();
  EXPECT_EQ(*seeded, 1);
  absl::StatusOr<std::string> text = ReadFile(base + "/second/cache/qemu/capabilities/abc.xml", 100);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "<qemuCaps/>");
  std::filesystem::remove_all(base);
}

}  // namespace
}  // namespace kata::hypervisors
