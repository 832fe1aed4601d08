// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/cgroup/pod_cgroup.h"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

namespace fs = std::filesystem;

// Directories that look like a host's; what the kernel does in real ones is test_host_cgroup.py's.
class PodCgroupTest : public testing::Test {
 protected:
  std::string root() const { return directory_.path(); }
  void Write(const std::string& file, const std::string& text) {
    const fs::path path = root() + "/" + file;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::string Read(const std::string& file) {
    auto text = ReadFile(root() + "/" + file, 4096);
    return text.ok() ? *text : text.status().ToString();
  }
  TestDirectory directory_;
};

TEST_F(PodCgroupTest, FindsTheHierarchiesOfEachVersion) {
  Write("cpu,cpuacct/cgroup.procs", "");
  Write("systemd/cgroup.procs", "");
  Write("unified/cgroup.procs", "");
  Write("unified/cgroup.controllers", "");
  fs::create_directory_symlink("cpu,cpuacct", root() + "/cpu");
  fs::create_directory(root() + "/empty");
  std::map<std::string, bool> found;
  for (const CgroupHierarchy& one : FindHierarchies(root()))
    found[one.directory.substr(root().size())] = one.is_version2;
  EXPECT_EQ(found, (std::map<std::string, bool>{{"/cpu,cpuacct", false}, {"/systemd", false}, {"/unified", true}}));

  Write("cgroup.controllers", "cpu memory");
  ASSERT_EQ(FindHierarchies(root()).size(), 1u);
  EXPECT_EQ(FindHierarchies(root())[0].directory, root());
  EXPECT_TRUE(FindHierarchies(root())[0].is_version2);
  EXPECT_TRUE(FindHierarchies(root() + "/nowhere").empty());
}

TEST_F(PodCgroupTest, KnowsWhereAProcessIs) {
  const std::string text = "9:name=systemd:/a.slice/b\n4:memory:/m\n2:cpu,cpuacct:/../out\n0::/a.slice/b.service\n";
  EXPECT_EQ(FindOwnCgroup(text, {"/c/systemd", false}), "a.slice/b");
  EXPECT_EQ(FindOwnCgroup(text, {"/c/memory", false}), "m");
  EXPECT_EQ(FindOwnCgroup(text, {"/c/cpu,cpuacct", false}), "");
  EXPECT_EQ(FindOwnCgroup(text, {"/c/pids", false}), "");
  EXPECT_EQ(FindOwnCgroup(text, {"/c", true}), "a.slice/b.service");
}

TEST_F(PodCgroupTest, TakesPathsThatStayBelow) {
  EXPECT_EQ(*CheckCgroupPath("//a///b/"), "a/b");
  for (const char* path : {"", "/", "..", "/a/../b", "a/./b"}) EXPECT_FALSE(CheckCgroupPath(path).ok()) << path;
}

TEST_F(PodCgroupTest, SaysBeforehandWhatItMakesAndInheritsTheCpuset) {
  Write("cpuset/cgroup.procs", "");
  Write("cpuset/cpuset.cpus", "0-3\n");
  Write("cpuset/cpuset.mems", "0\n");
  Write("cpuset/pods/cpuset.cpus", "\n");
  Write("cpuset/pods/cpuset.mems", "\n");
  Write("devices/cgroup.procs", "");
  auto cgroup = PodCgroup::Make(root(), "/pods/one", root() + "/record", "0::/\n");
  ASSERT_TRUE(cgroup.ok()) << cgroup.status();
  EXPECT_EQ(Read("record"), "pods/one");
  EXPECT_EQ(Read("cpuset/pods/cpuset.cpus"), "0-3\n");
  EXPECT_TRUE(fs::is_directory(root() + "/cpuset/pods/one"));
  EXPECT_FALSE(fs::exists(root() + "/devices/pods"));
  ASSERT_TRUE(RemoveRecordedCgroup(root(), root() + "/record").ok());
  EXPECT_FALSE(fs::exists(root() + "/cpuset/pods/one"));
  EXPECT_TRUE(fs::exists(root() + "/cpuset/pods"));
  EXPECT_TRUE(RemoveRecordedCgroup(root(), root() + "/record").ok());
  EXPECT_TRUE(RemoveRecordedCgroup(root(), root() + "/none").ok());
}

TEST_F(PodCgroupTest, ReadsTheLeastLimitAndTheKills) {
  Write("memory/cgroup.procs", "");
  Write("memory/memory.limit_in_bytes", "1\n");  // the top's is the host's
  Write("memory/pods/memory.limit_in_bytes", "1048576\n");
  Write("memory/pods/one/memory.limit_in_bytes", "9223372036854771712\n");
  auto cgroup = PodCgroup::Make(root(), "/pods/one", root() + "/record", "");
  ASSERT_TRUE(cgroup.ok()) << cgroup.status();
  EXPECT_EQ((*cgroup)->MemoryLimit(), 1048576u);
  EXPECT_EQ((*cgroup)->OomKills(), 0u);
  Write("memory/pods/one/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
  EXPECT_EQ((*cgroup)->OomKills(), 2u);

  Write("cgroup.controllers", "memory");
  Write("pods/memory.max", "max\n");
  Write("pods/one/memory.max", "max\n");
  Write("pods/one/memory.events", "oom 4\noom_kill 3\n");
  cgroup = PodCgroup::Make(root(), "/pods/one", root() + "/record", "");
  ASSERT_TRUE(cgroup.ok()) << cgroup.status();
  EXPECT_EQ((*cgroup)->MemoryLimit(), kNoMemoryLimit);
  EXPECT_EQ((*cgroup)->OomKills(), 3u);
}

TEST_F(PodCgroupTest, MovesThisProcessAndNobodyElseBack) {
  Write("pids/cgroup.procs", "");
  auto cgroup = PodCgroup::Make(root(), "pod", root() + "/record", "0::/\n");
  ASSERT_TRUE(cgroup.ok()) << cgroup.status();
  Write("pids/pod/cgroup.procs", absl::StrCat("1\n", ::getpid(), "\n"));
  // A file in it, which no directory of the kernel's would mind, keeps this one.
  EXPECT_FALSE((*cgroup)->Remove().ok());
  EXPECT_EQ(Read("pids/cgroup.procs"), absl::StrCat(::getpid()));
}

// A mount keeps a directory as the kernel keeps a cgroup whose processes have ended and still give back what they had.
TEST_F(PodCgroupTest, DyingProcessesAreWaitedForAndOthersAreNot) {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    GTEST_SKIP() << "needs a mount namespace";
  Write("pids/cgroup.procs", "");
  const std::string place = root() + "/pids/pod";
  for (const char* list : {"", "1\n"}) {
    auto cgroup = PodCgroup::Make(root(), "pod", root() + "/record", "0::/\n");
    ASSERT_TRUE(cgroup.ok()) << cgroup.status();
    ASSERT_EQ(::mount("none", place.c_str(), "tmpfs", 0, nullptr), 0);
    Write("pids/pod/cgroup.procs", list);
    std::thread end([&place] {
      ::usleep(2'000'000);  // longer than others are waited for
      ::umount2(place.c_str(), MNT_DETACH);
    });
    EXPECT_TRUE((*cgroup)->Remove().ok());
    EXPECT_EQ(fs::exists(place), list[0] != '\0');
    end.join();
  }
}

}  // namespace
}  // namespace kata::virtcontainers
