// SPDX-License-Identifier: Apache-2.0
#include "proto/base/mount_options.h"

#include <sys/mount.h>

#include <algorithm>

#include <gtest/gtest.h>

namespace kata {
namespace {

TEST(ParseMountOptions, SplitsFlagsFromData) {
  MountOptions options = ParseMountOptions({"nosuid", "noexec", "mode=755", "size=65536k"});

  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_NOSUID | MS_NOEXEC));
  EXPECT_EQ(options.Data(), "mode=755,size=65536k");
  EXPECT_FALSE(options.is_bind);
}

TEST(ParseMountOptions, TheLaterWordWins) {
  MountOptions options = ParseMountOptions({"ro", "rw", "suid", "nosuid"});

  EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_NOSUID));
  EXPECT_EQ(options.own.set, uint64_t{MOUNT_ATTR_NOSUID});
  EXPECT_EQ(options.own.cleared, uint64_t{MOUNT_ATTR_RDONLY});
}

TEST(ParseMountOptions, KnowsBindsAndPropagation) {
  MountOptions options = ParseMountOptions({"rbind", "rprivate", "ro"});

  EXPECT_TRUE(options.is_bind);
  EXPECT_TRUE(options.is_recursive_bind);
  EXPECT_EQ(options.propagation, std::vector<unsigned long>{MS_PRIVATE | MS_REC});
  EXPECT_TRUE(options.rest.empty());
}

TEST(ParseMountOptions, KeepsRecursiveOptionsApartFromTheMountsOwn) {
  MountOptions options = ParseMountOptions({"rbind", "rro", "rnoexec", "rsuid"});

  EXPECT_EQ(options.flags, 0ul);
  EXPECT_EQ(options.recursive.set, uint64_t{MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC});
  EXPECT_EQ(options.recursive.cleared, uint64_t{MOUNT_ATTR_NOSUID});
  EXPECT_TRUE(options.rest.empty());
}

TEST(ParseMountOptions, ARecursiveAccessTimeReplacesTheWholeField) {
  MountOptions options = ParseMountOptions({"rnoatime", "rstrictatime", "rro", "rrw"});

  EXPECT_EQ(options.recursive.set, uint64_t{MOUNT_ATTR_STRICTATIME});
  EXPECT_EQ(options.recursive.cleared, uint64_t{MOUNT_ATTR__ATIME | MOUNT_ATTR_RDONLY});
}

TEST(ParseMountOptions, DoesNotGiveTmpcopyupToTheKernel) {
  MountOptions options = ParseMountOptions({"tmpcopyup", "size=1m"});

  EXPECT_TRUE(options.copies_up);
  EXPECT_EQ(options.Data(), "size=1m");
}

TEST(ParseMountOptions, WordsOfIdMappedMounts) {
  EXPECT_TRUE(ParseMountOptions({"idmap"}).maps_ids);
  EXPECT_FALSE(ParseMountOptions({"idmap"}).maps_ids_recursively);
  EXPECT_TRUE(ParseMountOptions({"ridmap"}).maps_ids_recursively);
}

// None is taken for another's data, and each does something.
TEST(MountOptionWords, AreAllKnown) {
  for (const std::string& word : MountOptionWords()) {
    EXPECT_TRUE(ParseMountOptions({word}).rest.empty()) << word;
  }
  const std::vector<std::string> words = MountOptionWords();
  for (const char* word :
       {"ro", "rro", "rrw", "rnosuid", "rrelatime", "tmpcopyup", "rbind", "runbindable", "defaults"}) {
    EXPECT_TRUE(std::binary_search(words.begin(), words.end(), word)) << word;
  }
}

// A protection that is misspelt, or newer than the table, must not be missing unnoticed.
TEST(RefuseUnknownWords, NamesTheWord) {
  const absl::Status refused = RefuseUnknownWords(ParseMountOptions({"rbind", "ro", "nosuld"}));
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_EQ(refused.message(), "mount option \"nosuld\" is not known");
  EXPECT_TRUE(RefuseUnknownWords(ParseMountOptions({"bind", "nofail", "x-systemd.automount", "rro"})).ok());
}

}  // namespace
}  // namespace kata
