// SPDX-License-Identifier: Apache-2.0
#include "agent/rootfs/copy_up.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "agent/test/control_files.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

namespace fs = std::filesystem;

class CopyUpTest : public testing::Test {
 protected:
  absl::Status Copy(CopyUpLimits limits = CopyUpLimits()) {
    UniqueFd from(::open(from_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    UniqueFd to(::open(to_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return CopyUp(from.get(), to.get(), limits);
  }
  ControlFiles from_;
  ControlFiles to_;
};

TEST_F(CopyUpTest, CopiesFilesDirectoriesAndLinksWithTheirModes) {
  fs::create_directories(from_.path() + "/a/b");
  from_.Write("a/b/file", "content");
  ::chmod((from_.path() + "/a/b/file").c_str(), 04751);
  ::chmod((from_.path() + "/a").c_str(), 0710);
  fs::create_symlink("/etc/passwd", from_.path() + "/link");

  absl::Status status = Copy();

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(to_.Read("a/b/file"), "content");
  struct stat info {};
  ASSERT_EQ(::stat((to_.path() + "/a/b/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 04751u);
  ASSERT_EQ(::stat((to_.path() + "/a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0710u);
  EXPECT_EQ(fs::read_symlink(to_.path() + "/link"), "/etc/passwd");
}

TEST_F(CopyUpTest, StopsAtTooManyBytes) {
  from_.Write("file", std::string(100, 'x'));

  EXPECT_TRUE(absl::IsResourceExhausted(Copy({.bytes = 99})));
}

TEST_F(CopyUpTest, StopsAtTooManyEntries) {
  from_.Write("one", "1");
  from_.Write("two", "2");

  EXPECT_TRUE(absl::IsResourceExhausted(Copy({.entries = 1})));
}

TEST_F(CopyUpTest, StopsAtTooDeepDirectories) {
  fs::create_directories(from_.path() + "/a/b/c");

  EXPECT_TRUE(absl::IsResourceExhausted(Copy({.depth = 3})));
  fs::remove_all(to_.path() + "/a");
  EXPECT_TRUE(Copy({.depth = 4}).ok());
}

}  // namespace
}  // namespace kata::agent
