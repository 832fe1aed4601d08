// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/mirrors.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <vector>

#include <gtest/gtest.h>

#include "proto/base/fd.h"

namespace kata::agent {
namespace {

class MirrorsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static void Add(v1::SetMirrorRequest& request, const std::string& path, mode_t mode,
                  const std::string& content = "") {
    v1::MirrorEntry& entry = *request.add_entries();
    entry.set_path(path);
    entry.set_mode(mode);
    entry.set_uid(12);
    entry.set_gid(34);
    entry.set_mtime_ns(1'700'000'000'000'000'001);
    entry.set_content(content);
  }
  // As the kubelet writes it: `data` is the name of the directory that has the files.
  static v1::SetMirrorRequest Volume(uint64_t version, const std::string& data, const std::string& content) {
    v1::SetMirrorRequest request;
    request.set_number(7);
    request.set_version(version);
    Add(request, "", S_IFDIR | 02775);
    Add(request, data, S_IFDIR | 0755);
    Add(request, data + "/key", S_IFREG | 0640, content);
    Add(request, "..data", S_IFLNK | 0777, data);
    Add(request, "key", S_IFLNK | 0777, "..data/key");
    return request;
  }
  std::string path(const std::string& name) const { return directory_ + "/7" + name; }
  std::string Content() const { return ReadFile(path("/key"), 100).value_or("none"); }

  const std::string directory_ = testing::TempDir() + "mirrors-" + std::to_string(::getpid());
  Mirrors mirrors_{directory_};
};

TEST_F(MirrorsTest, IsWhatTheHostHas) {
  ASSERT_TRUE(mirrors_.Set(Volume(1, "..one", "first")).ok());
  EXPECT_EQ(Content(), "first");
  struct stat info {};
  ASSERT_EQ(::lstat(path("").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777u, 02775u);
  ASSERT_EQ(::stat(path("/key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777u, 0640u);
  EXPECT_EQ(info.st_uid, 12u);
  EXPECT_EQ(info.st_gid, 34u);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'700'000'000);
  EXPECT_EQ(info.st_mtim.tv_nsec, 1);
  ASSERT_EQ(::lstat(path("/..data").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 12u);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'700'000'000);
}

TEST_F(MirrorsTest, AWatcherSeesTheKubeletsOrder) {
  ASSERT_TRUE(mirrors_.Set(Volume(1, "..one", "first")).ok());
  const UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(inotify.get(), path("").c_str(), IN_CREATE | IN_DELETE | IN_MOVE), 0);

  ASSERT_TRUE(mirrors_.Set(Volume(2, "..two", "second")).ok());

  EXPECT_EQ(Content(), "second");
  std::vector<std::string> seen;
  alignas(inotify_event) std::array<char, 4096> events{};
  const ssize_t size = ::read(inotify.get(), events.data(), events.size());
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(&events[static_cast<size_t>(at)]);
    const uint32_t mask = event->mask;
    const char* what = (mask & IN_CREATE) != 0     ? "made "
                       : (mask & IN_DELETE) != 0   ? "removed "
                       : (mask & IN_MOVED_TO) != 0 ? "in place "
                                                   : "moved ";
    seen.push_back(std::string(what) + event->name);
    at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"made ..two", "made ..data_tmp", "moved ..data_tmp", "in place ..data",
                                            "removed ..one"}));
}

TEST_F(MirrorsTest, WhatIsAsBeforeIsLeftAlone) {
  ASSERT_TRUE(mirrors_.Set(Volume(1, "..one", "first")).ok());
  const UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  const uint32_t changes = IN_CREATE | IN_DELETE | IN_MOVE | IN_ATTRIB | IN_MODIFY;
  ASSERT_GE(::inotify_add_watch(inotify.get(), path("").c_str(), changes), 0);
  ASSERT_GE(::inotify_add_watch(inotify.get(), path("/..one").c_str(), changes), 0);
  ASSERT_TRUE(mirrors_.Set(Volume(2, "..one", "first")).ok());
  std::array<char, 4096> events{};
  EXPECT_EQ(::read(inotify.get(), events.data(), events.size()), -1);
}

TEST_F(MirrorsTest, WhatTheHostNeverHadStays) {
  ASSERT_TRUE(mirrors_.Set(Volume(1, "..one", "first")).ok());
  std::filesystem::create_directories(path("/mount/point"));
  ASSERT_TRUE(mirrors_.Set(Volume(2, "..two", "second")).ok());
  EXPECT_TRUE(std::filesystem::exists(path("/mount/point")));
  EXPECT_FALSE(std::filesystem::exists(path("/..one")));
}

TEST_F(MirrorsTest, AnOlderLookDoesNothing) {
  ASSERT_TRUE(mirrors_.Set(Volume(3, "..two", "second")).ok());
  EXPECT_TRUE(mirrors_.Set(Volume(2, "..one", "first")).ok());
  EXPECT_EQ(Content(), "second");
}

TEST_F(MirrorsTest, AFileOfAnotherKindOrContentIsReplaced) {
  v1::SetMirrorRequest request = Volume(1, "..one", "first");
  Add(request, "a", S_IFREG | 0600, "file");
  Add(request, "b", S_IFDIR | 0755);
  Add(request, "b/c", S_IFREG | 0600, "in it");
  ASSERT_TRUE(mirrors_.Set(request).ok());
  request = Volume(2, "..one", "other");
  Add(request, "a", S_IFDIR | 0755);
  Add(request, "a/c", S_IFREG | 0600, "in it");
  Add(request, "b", S_IFREG | 0600, "file");
  ASSERT_TRUE(mirrors_.Set(request).ok());
  EXPECT_EQ(Content(), "other");
  EXPECT_EQ(ReadFile(path("/a/c"), 100).value_or(""), "in it");
  EXPECT_EQ(ReadFile(path("/b"), 100).value_or(""), "file");
}

TEST_F(MirrorsTest, LinksLeadNowhereFromIt) {
  const std::string outside = directory_ + ".outside";
  std::filesystem::create_directories(outside);
  std::ofstream(outside + "/key") << "kept";
  ASSERT_TRUE(mirrors_.Set(Volume(1, "..one", "first")).ok());
  // A privileged container can write to the guest's directory.
  std::filesystem::remove_all(path("/..one"));
  std::filesystem::create_symlink(outside, path("/..one"));
  ASSERT_TRUE(mirrors_.Set(Volume(2, "..one", "second")).ok());
  EXPECT_EQ(ReadFile(outside + "/key", 100).value_or(""), "kept");
  EXPECT_EQ(Content(), "second");
  std::filesystem::remove_all(outside);
}

TEST_F(MirrorsTest, WhatIsNoTreeIsRefusedAndChangesNothing) {
  ASSERT_TRUE(mirrors_.Set(Volume(1, "..one", "first")).ok());
  for (const std::string path : {"../x", "a/../b", "missing/x", "key/x", "/x", "x/", ".", "key", "..one"}) {
    v1::SetMirrorRequest request = Volume(2, "..one", "second");
    Add(request, path, S_IFREG | 0600, "x");
    const absl::Status status = mirrors_.Set(request);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << path << ": " << status;
  }
  v1::SetMirrorRequest device = Volume(2, "..one", "second");
  Add(device, "device", S_IFBLK | 0600);
  EXPECT_TRUE(absl::IsInvalidArgument(mirrors_.Set(device)));
  v1::SetMirrorRequest many = Volume(2, "..one", "second");
  for (int i = 0; i < kMirrorEntriesMax; ++i) Add(many, "f" + std::to_string(i), S_IFREG | 0600);
  EXPECT_TRUE(absl::IsInvalidArgument(mirrors_.Set(many)));
  v1::SetMirrorRequest empty;
  empty.set_number(9);
  EXPECT_TRUE(absl::IsInvalidArgument(mirrors_.Set(empty)));
  EXPECT_EQ(Content(), "first");
}

}  // namespace
}  // namespace kata::agent
