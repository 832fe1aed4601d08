// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/state/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "hypervisors/state/checked_file.h"
#include "proto/base/fd.h"

namespace kata::hypervisors {
namespace {

constexpr uint64_t kSize = 8u << 20;
constexpr uint64_t kPage = 4096;

UniqueFd Memory(uint64_t size = kSize) {
  UniqueFd fd(::memfd_create("machine", MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  return fd;
}

void Put(const UniqueFd& memory, uint64_t offset, const std::string& text) {
  ASSERT_EQ(::pwrite(memory.get(), text.data(), text.size(), static_cast<off_t>(offset)),
            static_cast<ssize_t>(text.size()));
}

std::string Contents(const UniqueFd& memory) {
  std::string out(kSize, '\0');
  EXPECT_EQ(::pread(memory.get(), out.data(), out.size(), 0), static_cast<ssize_t>(out.size()));
  return out;
}

uint64_t Allocated(const UniqueFd& memory) {
  struct stat info {};
  EXPECT_EQ(::fstat(memory.get(), &info), 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

class MemoryFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/memory-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_ = name + "/memory";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // A first page, a run across what is copied at a time, one in the middle of a hole, the last page.
  void SaveOne() {
    const UniqueFd memory = Memory();
    Put(memory, 0, "first");
    Put(memory, 5 * kPage, std::string(400'000, 'x'));
    Put(memory, 3u << 20, "alone");
    Put(memory, kSize - 1, "!");
    saved_ = Contents(memory);
    ASSERT_TRUE(SaveMemory(memory.get(), kSize, path_).ok());
  }
  void Overwrite(off_t at, const std::string& text) const {
    const UniqueFd file(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(file.get(), text.data(), text.size(), at), static_cast<ssize_t>(text.size()));
  }

  std::string directory_;
  std::string path_;
  std::string saved_;
};

TEST_F(MemoryFileTest, ComesBackWithoutItsHoles) {
  SaveOne();
  const UniqueFd memory = Memory();
  ASSERT_TRUE(LoadMemory(path_, memory.get(), kSize).ok());
  EXPECT_LT(Allocated(memory), 600'000u);
  EXPECT_EQ(Contents(memory), saved_);
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_LT(info.st_size, 500'000);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(MemoryFileTest, PagesOfZerosAreNotKept) {
  const UniqueFd memory = Memory();
  Put(memory, 0, std::string(kSize, '\0'));
  Put(memory, 1u << 20, "one");
  ASSERT_GE(Allocated(memory), kSize);
  ASSERT_TRUE(SaveMemory(memory.get(), kSize, path_).ok());
  const UniqueFd loaded = Memory();
  ASSERT_TRUE(LoadMemory(path_, loaded.get(), kSize).ok());
  EXPECT_EQ(Allocated(loaded), kPage);
  EXPECT_EQ(Contents(loaded), Contents(memory));
}

TEST_F(MemoryFileTest, EmptyMemoryIsAFileToo) {
  ASSERT_TRUE(SaveMemory(Memory().get(), kSize, path_).ok());
  EXPECT_TRUE(LoadMemory(path_, Memory().get(), kSize).ok());
}

TEST_F(MemoryFileTest, AnyDamageIsSeen) {
  SaveOne();
  const auto size = static_cast<off_t>(std::filesystem::file_size(path_));
  for (const off_t at :
       {off_t{0}, off_t{8}, off_t{16}, off_t{24}, off_t{32}, off_t{40}, off_t{48}, size / 2, size - 1}) {
    char before = 0;
    {
      const UniqueFd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_EQ(::pread(file.get(), &before, 1, at), 1);
    }
    Overwrite(at, std::string(1, static_cast<char>(before ^ 1)));
    EXPECT_FALSE(LoadMemory(path_, Memory().get(), kSize).ok()) << "at " << at;
    Overwrite(at, std::string(1, before));
  }
  EXPECT_TRUE(LoadMemory(path_, Memory().get(), kSize).ok());
}

TEST_F(MemoryFileTest, CutShortIsSeen) {
  SaveOne();
  for (const uint64_t size : {uint64_t{0}, uint64_t{10}, kCheckedHeader, uint64_t{100'000}}) {
    std::filesystem::resize_file(path_, size);
    EXPECT_TRUE(absl::IsDataLoss(LoadMemory(path_, Memory().get(), kSize))) << size;
  }
}

TEST_F(MemoryFileTest, AnotherMachinesSizeIsRefused) {
  SaveOne();
  EXPECT_TRUE(absl::IsFailedPrecondition(LoadMemory(path_, Memory(2 * kSize).get(), 2 * kSize)));
}

TEST_F(MemoryFileTest, UnsealedFileIsNone) {
  {
    auto file = CreateChecked(path_);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(WriteAll(file->get(), "half a machine").ok());
  }
  EXPECT_TRUE(absl::IsDataLoss(OpenChecked(path_).status()));
  EXPECT_FALSE(CreateChecked(path_).ok());  // never over one that is there
}

}  // namespace
}  // namespace kata::hypervisors
