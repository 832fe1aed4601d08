// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/directory_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include <gtest/gtest.h>

#include "agent/test/control_files.h"

namespace kata::agent {
namespace {

using Step = DirectoryWalk::Step;

// Deeper than any path can name.
constexpr int kDepth = 3000;
constexpr int kWidth = 500;

class Walk : public testing::Test {
 protected:
  void MakeDeep() {
    UniqueFd fd(::open(files_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (int i = 0; i < kDepth; ++i) {
      ASSERT_EQ(::mkdirat(fd.get(), "deeper", 0755), 0);
      fd.reset(::openat(fd.get(), "deeper", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      ASSERT_TRUE(fd.valid());
    }
  }
  // The number of directories entered; those left are removed.
  static int RemoveAll(DirectoryWalk& walk) {
    int entered = 0;
    for (;;) {
      auto step = walk.Next();
      EXPECT_TRUE(step.ok()) << step.status();
      if (!step.ok() || *step == Step::kEnded) return entered;
      if (*step == Step::kEntered) {
        ++entered;
      } else {
        EXPECT_EQ(::unlinkat(walk.fd(), walk.name().c_str(), AT_REMOVEDIR), 0);
      }
    }
  }
  ControlFiles files_;
};

TEST_F(Walk, RemovesWhatNoPathCanName) {
  MakeDeep();
  auto walk = DirectoryWalk::Open(files_.path());
  ASSERT_TRUE(walk.ok());

  EXPECT_EQ(RemoveAll(*walk), kDepth + 1);

  EXPECT_FALSE(std::filesystem::exists(files_.path() + "/deeper"));
}

TEST_F(Walk, SeesEachOfManyOnceAlthoughTheyGo) {
  for (int i = 0; i < kWidth; ++i) {
    ASSERT_EQ(::mkdir((files_.path() + "/d" + std::to_string(i)).c_str(), 0755), 0);
    ASSERT_EQ(::mkdir((files_.path() + "/d" + std::to_string(i) + "/x").c_str(), 0755), 0);
  }
  files_.Write("file", "not a directory");
  auto walk = DirectoryWalk::Open(files_.path());
  ASSERT_TRUE(walk.ok());

  EXPECT_EQ(RemoveAll(*walk), 2 * kWidth + 1);

  EXPECT_EQ(::unlink((files_.path() + "/file").c_str()), 0);
  EXPECT_TRUE(std::filesystem::is_empty(files_.path()));
}

TEST_F(Walk, ParentsComeBeforeTheirChildrenAndLeaveAfterThem) {
  std::filesystem::create_directories(files_.path() + "/a/b");
  auto walk = DirectoryWalk::Open(files_.path());
  ASSERT_TRUE(walk.ok());

  EXPECT_EQ(*walk->Next(), Step::kEntered);
  EXPECT_EQ(*walk->Next(), Step::kEntered);
  EXPECT_EQ(*walk->Next(), Step::kEntered);
  EXPECT_EQ(*walk->Next(), Step::kLeft);
  EXPECT_EQ(walk->name(), "b");
  EXPECT_EQ(*walk->Next(), Step::kLeft);
  EXPECT_EQ(walk->name(), "a");
  EXPECT_EQ(*walk->Next(), Step::kEnded);
}

TEST_F(Walk, DoesNotFollowLinks) {
  std::filesystem::create_directory_symlink("/", files_.path() + "/root");
  auto walk = DirectoryWalk::Open(files_.path());
  ASSERT_TRUE(walk.ok());

  EXPECT_EQ(*walk->Next(), Step::kEntered);
  EXPECT_EQ(*walk->Next(), Step::kEnded);
}

TEST_F(Walk, AMissingTopIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(DirectoryWalk::Open(files_.path() + "/none").status()));
}

}  // namespace
}  // namespace kata::agent
