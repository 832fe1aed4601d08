// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/mountinfo.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

TEST(Mountinfo, IsReadWithItsEscapes) {
  TestDirectory directory;
  const std::string path = directory.path() + "/mountinfo";
  ASSERT_TRUE(WriteFileAtomically(path,
                                  "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root "
                                  "rw,errors=continue\n37 36 0:42 / /x\\134y ro - tmpfs tmpfs rw,size=1024k\n",
                                  0600)
                  .ok());
  auto mounts = ReadMountinfo(path);
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  ASSERT_EQ(mounts->size(), 2u);
  EXPECT_EQ((*mounts)[0].id, 36u);
  EXPECT_EQ((*mounts)[0].place, "/mnt 2");
  EXPECT_EQ((*mounts)[0].root, "/mnt1");
  EXPECT_EQ((*mounts)[0].type, "ext3");
  EXPECT_EQ((*mounts)[0].source, "/dev/root");
  EXPECT_EQ((*mounts)[0].options, "rw,noatime");
  EXPECT_FALSE((*mounts)[0].is_read_only);
  EXPECT_EQ((*mounts)[1].place, "/x\\y");
  EXPECT_EQ((*mounts)[1].device, "0:42");
  EXPECT_EQ((*mounts)[1].super_options, "rw,size=1024k");
  EXPECT_TRUE((*mounts)[1].is_read_only);
}

TEST(Mountinfo, OfThisThreadHasTheRoot) {
  auto mounts = Mounts();
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  EXPECT_TRUE(std::any_of(mounts->begin(), mounts->end(), [](const MountEntry& entry) { return entry.place == "/"; }));
}

TEST(Mountinfo, MissingFileIsNamed) {
  EXPECT_EQ(ReadMountinfo("/nonexistent/mountinfo").status().message(),
            "reading \"/nonexistent/mountinfo\": no such file or directory");
}

}  // namespace
}  // namespace kata::virtcontainers
