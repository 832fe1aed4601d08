// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/storage/memory_volume.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtcontainers/share/guest_own.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using testing::Contains;
using testing::StartsWith;

// Runs `body` on a thread with a mount namespace of its own; skips where that is not allowed.
template <typename Body>
void InOwnMounts(Body body) {
  bool is_allowed = false;
  std::thread thread([&] {
    is_allowed =
        ::unshare(CLONE_FS | CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (is_allowed) body();
  });
  thread.join();
  if (!is_allowed) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
}

void MountTmpfs(const std::string& path, unsigned long flags, const char* data) {
  std::filesystem::create_directories(path);
  ASSERT_EQ(::mount("tmpfs", path.c_str(), "tmpfs", flags, data), 0) << path;
}

TEST(MemoryVolume, HasTheSizeOfTheHostsWhereNobodyGaveOne) {
  TestDirectory directory;
  const std::string volume = directory.path() + "/pods/uid/volumes/kubernetes.io~empty-dir/cache";
  InOwnMounts([&] {
    MountTmpfs(volume, 0, "");
    struct statfs system {};
    ASSERT_EQ(::statfs(volume.c_str(), &system), 0);
    auto found = FindMemoryVolume(volume, "/cache", directory.path() + "/notes");
    ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
    EXPECT_THAT((*found)->options, Contains(absl::StrCat("size=", system.f_blocks * system.f_bsize / 1024, "k")));
    EXPECT_THAT((*found)->options, Contains(absl::StrCat("nr_inodes=", system.f_files)));
  });
}

TEST(MemoryVolume, IsAnEmptyDirOfMemory) {
  TestDirectory directory;
  const std::string pod = absl::StrCat(directory.path(), "/pods/uid");
  const std::string volume = pod + "/volumes/kubernetes.io~empty-dir/cache";
  const std::string notes = directory.path() + "/notes";
  InOwnMounts([&] {
    MountTmpfs(volume, MS_NOEXEC, "size=1m,nr_inodes=100,mode=2777,gid=2000");
    auto found = FindMemoryVolume(volume, "/cache", notes);
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_TRUE(found->has_value());
    EXPECT_THAT((*found)->options,
                testing::ElementsAre("mode=2777", "uid=0", "gid=2000", "size=1024k", "nr_inodes=100", "noexec"));
    EXPECT_EQ((*found)->GuestSource(), (*found)->GuestMountPoint());
    EXPECT_THAT((*found)->GuestSource(), StartsWith(kGuestMemoryVolumes));

    // A subPath: a directory of it, bound to another place.
    const std::string below = pod + "/volume-subpaths/cache/c/0";
    std::filesystem::create_directories(volume + "/a/b");
    ASSERT_EQ(::chmod((volume + "/a").c_str(), 0750), 0);
    std::filesystem::create_directories(below);
    ASSERT_EQ(::mount((volume + "/a/b").c_str(), below.c_str(), nullptr, MS_BIND, nullptr), 0);
    auto sub = FindMemoryVolume(below, "/sub", notes);
    ASSERT_TRUE(sub.ok() && sub->has_value()) << sub.status();
    EXPECT_EQ((*sub)->key, (*found)->key);
    EXPECT_EQ((*sub)->path, "a/b");
    ASSERT_EQ((*sub)->directories.size(), 2u);
    EXPECT_EQ((*sub)->directories[0].path, "a");
    EXPECT_EQ((*sub)->directories[0].mode, 0750u);

    // Files that come later change nothing for this pod, and keep the next one's on the host.
    std::ofstream(volume + "/late") << "x";
    EXPECT_TRUE(FindMemoryVolume(volume, "/cache", notes)->has_value());
    EXPECT_FALSE(FindMemoryVolume(volume, "/cache", notes + "-other")->has_value());
    ::unlink((volume + "/late").c_str());
    EXPECT_FALSE(FindMemoryVolume(volume, "/cache", notes + "-other")->has_value());
  });
}

TEST(MemoryVolume, IsNotAnyOtherTmpfs) {
  TestDirectory directory;
  const std::string notes = directory.path() + "/notes";
  InOwnMounts([&] {
    const std::string secret = directory.path() + "/volumes/kubernetes.io~secret/token";
    MountTmpfs(secret, 0, "size=1m");
    EXPECT_FALSE(FindMemoryVolume(secret, "/token", notes)->has_value());
    EXPECT_FALSE(FindMemoryVolume("/etc", "/dev/shm", notes)->has_value());
    EXPECT_FALSE(FindMemoryVolume("/there-is-no-such-path", "/x", notes)->has_value());
    const std::string disk = directory.path() + "/volumes/kubernetes.io~empty-dir/disk";
    std::filesystem::create_directories(disk);
    auto on_disk = FindMemoryVolume(disk, "/disk", notes);
    ASSERT_TRUE(on_disk.ok());
    EXPECT_FALSE(on_disk->has_value());
  });
}

TEST(MemoryVolume, IsTheSharedMemoryThatAnEngineMade) {
  TestDirectory directory;
  const std::string notes = directory.path() + "/notes";
  InOwnMounts([&] {
    const std::string shm = directory.path() + "/sandbox/shm";
    MountTmpfs(shm, MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=65536k,mode=1777");
    auto found = FindMemoryVolume(shm, "/dev/shm", notes);
    ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
    EXPECT_THAT((*found)->options, Contains("size=65536k"));
    EXPECT_FALSE(FindMemoryVolume(shm, "/other", notes)->has_value());
    // The host's own: who binds that asks for the host's files.
    MountTmpfs("/dev/shm", 0, "size=1m");
    EXPECT_FALSE(FindMemoryVolume("/dev/shm", "/dev/shm", notes)->has_value());
  });
}

TEST(GuestOwn, IsWhatStandsForAKernel) {
  for (const char* path :
       {"/proc", "/proc/sys", "/sys/fs/cgroup", "/dev", "/dev/null", "/dev/pts", "/dev/there-is-none"})
    EXPECT_TRUE(IsGuestOwn(path)) << path;
  for (const char* path : {"/", "/etc", "/device", "/processes", "/sysroot"}) EXPECT_FALSE(IsGuestOwn(path)) << path;
  InOwnMounts([] {
    ASSERT_EQ(::mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1m"), 0);
    std::ofstream("/dev/shm/file") << "x";
    std::filesystem::create_directory("/dev/shm/directory");
    for (const char* path : {"/dev/shm", "/dev/shm/file", "/dev/shm/directory"}) EXPECT_FALSE(IsGuestOwn(path)) << path;
  });
}

TEST(MemoryVolume, HasHugePagesOfTheGuestWhereTheHostHasSome) {
  TestDirectory directory;
  const std::string volume = directory.path() + "/huge";
  InOwnMounts([&] {
    std::filesystem::create_directories(volume);
    if (::mount("none", volume.c_str(), "hugetlbfs", 0, "pagesize=2M,size=8M,mode=1770,gid=33") != 0)
      GTEST_SKIP() << "the kernel has none";
    auto found = FindMemoryVolume(volume, "/anywhere", directory.path() + "/notes");
    ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
    EXPECT_EQ((*found)->type, "hugetlbfs");
    EXPECT_THAT((*found)->options, Contains("pagesize=2M"));
    EXPECT_THAT((*found)->options, Contains("size=8388608"));
    EXPECT_THAT((*found)->options, Contains("mode=1770"));
    EXPECT_THAT((*found)->options, Contains("gid=33"));
  });
}

}  // namespace
}  // namespace kata::virtcontainers
