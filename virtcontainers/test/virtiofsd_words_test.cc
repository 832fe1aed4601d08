// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/share/virtiofsd_words.h"

#include <sys/stat.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/fd.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr char kQemusHelp[] =
    "usage: virtiofsd [options]\n    -o cache=<mode>            cache mode\n    -o source=PATH             shared "
    "directory tree\n";
constexpr char kRustHelp[] =
    "Usage: virtiofsd [OPTIONS]\n      --shared-dir <SHARED_DIR>\n      --inode-file-handles=<INODE_FILE_HANDLES>\n"
    "      --no-announce-submounts\n";

// A program that answers --help with `help`, and says in the file beside it that it ran.
std::string MakeProgram(const std::string& directory, const std::string& help) {
  const std::string path = directory + "/virtiofsd";
  const std::string text =
      "#!/bin/sh\necho ran >>" + directory + "/runs\n[ \"$1\" = --help ] && cat <<'END'\n" + help + "END\n";
  EXPECT_TRUE(WriteFileAtomically(path, text, 0755).ok());
  return path;
}

size_t Runs(const std::string& directory) {
  auto text = ReadFile(directory + "/runs", 4096);
  return text.ok() ? text->size() / 4 : 0;
}

TEST(VirtiofsdWords, QemusGetsItsOptions) {
  auto kind = ReadVirtiofsdHelp(kQemusHelp);
  ASSERT_TRUE(kind.ok()) << kind.status();

  const auto words = VirtiofsdWords(*kind, {"/a/b", "none", 3, true});

  EXPECT_THAT(words, Contains("source=/a/b"));
  EXPECT_THAT(words, Contains("cache=none"));
  EXPECT_THAT(words, Contains("posix_acl"));
  EXPECT_THAT(words, Contains("--fd=3"));
  for (const std::string& word : words) EXPECT_THAT(word, Not(HasSubstr("file-handles")));
}

TEST(VirtiofsdWords, QemusForgetsNoPagesWhenAFileIsOpened) {
  auto kind = ReadVirtiofsdHelp(kQemusHelp);
  ASSERT_TRUE(kind.ok()) << kind.status();

  EXPECT_THAT(VirtiofsdWords(*kind, {"/a/b", "auto", 3, true}), Contains("cache=always,timeout=1"));
  EXPECT_THAT(VirtiofsdWords(*kind, {"/a/b", "always", 3, true}), Contains("cache=always"));
}

TEST(VirtiofsdWords, TheOneInRustGetsItsOptions) {
  auto kind = ReadVirtiofsdHelp(kRustHelp);
  ASSERT_TRUE(kind.ok()) << kind.status();

  const auto words = VirtiofsdWords(*kind, {"/a/b", "none", 3, false});

  EXPECT_THAT(words, Contains("--shared-dir=/a/b"));
  EXPECT_THAT(words, Contains("--cache=never"));
  EXPECT_THAT(words, Contains("--posix-acl"));
  EXPECT_THAT(words, Contains("--no-announce-submounts"));
  EXPECT_THAT(words, Not(Contains("-o")));
  EXPECT_THAT(words, Not(Contains("--inode-file-handles=prefer")));
  EXPECT_THAT(VirtiofsdWords(*kind, {"/a/b", "auto", 3, true}), Contains("--inode-file-handles=prefer"));
}

TEST(VirtiofsdWords, FurtherArgumentsComeLast) {
  for (const char* help : {kQemusHelp, kRustHelp}) {
    auto kind = ReadVirtiofsdHelp(help);
    ASSERT_TRUE(kind.ok()) << kind.status();
    VirtiofsdShare share{"/a/b", "auto", 3, false, {"--thread-pool-size=4", "--x"}};
    const auto words = VirtiofsdWords(*kind, share);
    ASSERT_GT(words.size(), 2u);
    EXPECT_EQ(words[words.size() - 2], "--thread-pool-size=4");
    EXPECT_EQ(words.back(), "--x");
    EXPECT_THAT(words, Not(Contains("--thread-pool-size=1")));
  }
}

TEST(VirtiofsdWords, TrustedAttributesAreOthersOnTheHost) {
  const std::string rules = ":prefix:all:trusted.:user.kata.::bad:client:user.kata.:::ok:all:::";
  for (const char* help : {kQemusHelp, kRustHelp}) {
    auto kind = ReadVirtiofsdHelp(help);
    ASSERT_TRUE(kind.ok()) << kind.status();
    EXPECT_THAT(VirtiofsdWords(*kind, {"/a/b", "auto", 3, false}), Contains(HasSubstr("xattrmap=" + rules)));
  }
}

TEST(VirtiofsdWords, AnotherProgramIsRefused) {
  EXPECT_THAT(ReadVirtiofsdHelp("Usage: true\n").status().message(), HasSubstr("--shared-dir"));
}

TEST(ProbeVirtiofsd, AsksOnceForEachVersionOfTheProgram) {
  TestDirectory directory;
  const std::string program = MakeProgram(directory.path(), kQemusHelp);
  const std::string cache = directory.path() + "/cache";

  for (int i = 0; i < 2; ++i) {
    auto kind = ProbeVirtiofsd(program, cache);
    ASSERT_TRUE(kind.ok()) << kind.status();
    EXPECT_FALSE(kind->is_rust);
  }
  EXPECT_EQ(Runs(directory.path()), 1u);

  MakeProgram(directory.path(), kRustHelp);
  auto kind = ProbeVirtiofsd(program, cache);

  ASSERT_TRUE(kind.ok()) << kind.status();
  EXPECT_TRUE(kind->is_rust);
  EXPECT_EQ(Runs(directory.path()), 2u);
}

TEST(ProbeVirtiofsd, ACutCacheIsNotBelieved) {
  TestDirectory directory;
  const std::string program = MakeProgram(directory.path(), kRustHelp);
  const std::string cache = directory.path() + "/cache";
  ASSERT_TRUE(ProbeVirtiofsd(program, cache).ok());
  for (const auto& file : std::filesystem::directory_iterator(cache)) std::filesystem::resize_file(file.path(), 2);

  auto kind = ProbeVirtiofsd(program, cache);

  ASSERT_TRUE(kind.ok()) << kind.status();
  EXPECT_TRUE(kind->is_rust && kind->can_forget_mount_points && kind->has_file_handles);
  EXPECT_EQ(Runs(directory.path()), 2u);
}

TEST(ProbeVirtiofsd, OneThatIsNotThereIsAnError) { EXPECT_FALSE(ProbeVirtiofsd("/no/such/virtiofsd", "").ok()); }

}  // namespace
}  // namespace kata::virtcontainers
