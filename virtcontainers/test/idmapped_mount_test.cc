// SPDX-License-Identifier: Apache-2.0
// Needs root; skips where the host's kernel cannot idmap the temporary file system.
#include "virtcontainers/share/idmapped_mount.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "virtcontainers/share/mounts.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

IdMap Map() { return {.uids = {{0, 100000, 65536}}, .gids = {{0, 200000, 65536}}}; }

TEST(IdmapMount, ShowsOwnersAsOthers) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  TestDirectory directory;
  const std::string source = directory.path() + "/source";
  ASSERT_EQ(::mkdir(source.c_str(), 0755), 0);
  std::ofstream(source + "/file") << "x";
  ASSERT_EQ(::chown((source + "/file").c_str(), 7, 8), 0);
  auto copy = CopyMount(source, /*is_recursive=*/false);
  ASSERT_TRUE(copy.ok()) << copy.status();

  const absl::Status status = IdmapMount(copy->get(), Map());

  if (absl::IsFailedPrecondition(status)) GTEST_SKIP() << status;
  ASSERT_TRUE(status.ok()) << status;
  struct stat info {};
  EXPECT_EQ(::fstatat(copy->get(), "file", &info, 0), 0);
  EXPECT_EQ(info.st_uid, 100007u);
  EXPECT_EQ(info.st_gid, 200008u);
  EXPECT_EQ(::stat((source + "/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 7u);
}

TEST(IdmapMount, SaysWhatAFileSystemCannot) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  // No version of the kernel idmaps procfs.
  auto copy = CopyMount("/proc/sys", /*is_recursive=*/false);
  ASSERT_TRUE(copy.ok()) << copy.status();
  const absl::Status status = IdmapMount(copy->get(), Map());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST(IdmapMount, RefusesHalfAMap) {
  IdMap map = Map();
  map.gids.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(IdmapMount(-1, map)));
}

}  // namespace
}  // namespace kata::virtcontainers
