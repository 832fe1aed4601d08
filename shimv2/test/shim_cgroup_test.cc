// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/shim_cgroup.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "proto/base/fd.h"

namespace kata::shimv2 {
namespace {

namespace fs = std::filesystem;

class ShimCgroup : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/shim_cgroup_test_XXXXXX";
    root_ = ::mkdtemp(name);
  }
  void TearDown() override { fs::remove_all(root_); }
  // The top has "cgroup.controllers" where it is of version 2.
  void Make(const std::string& directory) {
    fs::create_directories(root_ + "/" + directory);
    for (fs::path at = root_ + "/" + directory; at != root_; at = at.parent_path()) std::ofstream(at / "cgroup.procs");
  }
  std::string Procs(const std::string& directory) {
    auto text = ReadFile(root_ + "/" + directory + "/cgroup.procs", 64);
    return text.ok() ? *text : text.status().ToString();
  }
  std::string root_;
};

TEST_F(ShimCgroup, JoinsEachHierarchyOfVersion1ThatHasIt) {
  Make("cpu/shims");
  Make("memory/shims");
  Make("pids/others");

  ASSERT_TRUE(JoinShimCgroup(root_, "/shims", 41).ok());

  EXPECT_EQ(Procs("cpu/shims"), "41");
  EXPECT_EQ(Procs("memory/shims"), "41");
  EXPECT_EQ(Procs("pids/others"), "");
}

TEST_F(ShimCgroup, JoinsTheHierarchyOfVersion2) {
  Make("shims/a");
  Make("system.slice/shims/a");
  std::ofstream(root_ + "/cgroup.controllers");

  ASSERT_TRUE(JoinShimCgroup(root_, "shims/a", 42).ok());

  EXPECT_EQ(Procs("shims/a"), "42");
  EXPECT_EQ(Procs("system.slice/shims/a"), "");
}

TEST_F(ShimCgroup, NamesOneThatIsNotThereAndTakesNoWayOut) {
  Make("cpu/shims");
  const absl::Status missing = JoinShimCgroup(root_, "/nobody", 43);
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_NE(missing.message().find("\"/nobody\""), std::string::npos) << missing;
  for (const char* path : {"", "/", "../cpu/shims", "shims/../../x"})
    EXPECT_TRUE(absl::IsInvalidArgument(JoinShimCgroup(root_, path, 43))) << path;
}

}  // namespace
}  // namespace kata::shimv2
