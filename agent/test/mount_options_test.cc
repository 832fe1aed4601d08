// SPDX-License-Identifier: Apache-2.0
#include "agent/mount_options.h"

#include <sys/mount.h>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

TEST(ParseMountOptions, SplitsFlagsFromData) {
  MountOptions options = ParseMountOptions({"nosuid", "noexec", "mode=755", "size=65536k"});

  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_NOSUID | MS_NOEXEC));
  EXPECT_EQ(options.data, "mode=755,size=65536k");
  EXPECT_FALSE(options.is_bind);
}

TEST(ParseMountOptions, TheLaterWordWins) {
  MountOptions options = ParseMountOptions({"ro", "rw", "suid", "nosuid"});

  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_NOSUID));
  EXPECT_EQ(options.cleared, static_cast<unsigned long>(MS_RDONLY));
}

TEST(ParseMountOptions, KnowsBindsAndPropagation) {
  MountOptions options = ParseMountOptions({"rbind", "rprivate", "ro"});

  EXPECT_TRUE(options.is_bind);
  EXPECT_TRUE(options.is_recursive_bind);
  EXPECT_EQ(options.propagation, std::vector<unsigned long>{MS_PRIVATE | MS_REC});
  EXPECT_TRUE(options.data.empty());
}

TEST(ParseMountOptions, KeepsRecursiveOptionsApartFromTheMountsOwn) {
  MountOptions options = ParseMountOptions({"rbind", "rro", "rnoexec", "rsuid"});

  EXPECT_EQ(options.flags, 0ul);
  EXPECT_EQ(options.recursive_set, uint64_t{MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC});
  EXPECT_EQ(options.recursive_cleared, uint64_t{MOUNT_ATTR_NOSUID});
  EXPECT_TRUE(options.data.empty());
}

TEST(ParseMountOptions, ARecursiveAccessTimeReplacesTheWholeField) {
  MountOptions options = ParseMountOptions({"rnoatime", "rstrictatime", "rro", "rrw"});

  EXPECT_EQ(options.recursive_set, uint64_t{MOUNT_ATTR_STRICTATIME});
  EXPECT_EQ(options.recursive_cleared, uint64_t{MOUNT_ATTR__ATIME | MOUNT_ATTR_RDONLY});
}

TEST(ParseMountOptions, DoesNotGiveTmpcopyupToTheKernel) {
  MountOptions options = ParseMountOptions({"tmpcopyup", "size=1m"});

  EXPECT_TRUE(options.copies_up);
  EXPECT_EQ(options.data, "size=1m");
}

}  // namespace
}  // namespace kata::agent
