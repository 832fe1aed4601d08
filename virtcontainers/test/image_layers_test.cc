// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/image_layers.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtcontainers/storage/erofs_image.h"
#include "virtcontainers/test/test_directory.h"

namespace kata::virtcontainers {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

// The first blocks of an image, as mkfs.erofs makes it: enough to be judged by.
struct Superblock {
  uint32_t features = 0;
  uint16_t algorithms = 0;
  uint16_t devices = 0;
  char block_bits = 12;
  uint32_t magic = 0xe0f5e1e2;
};

void WriteImage(const std::string& path, const Superblock& block = {}) {
  std::string text(4096, '\0');
  const auto put = [&text](size_t offset, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) text[1024 + offset + i] = static_cast<char>(value >> (8 * i));
  };
  put(0, block.magic, 4);
  put(12, static_cast<uint64_t>(block.block_bits), 1);
  put(80, block.features, 4);
  put(84, block.algorithms, 2);
  put(86, block.devices, 2);
  std::ofstream(path, std::ios::binary) << text;
}

class ImageLayersTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"1", "2", "up", "work"}) std::filesystem::create_directory(At(name));
    for (const char* name : {"1", "2"}) {
      WriteImage(At(name) + ".erofs");
      MountEntry mount;
      mount.place = At(name);
      mount.root = "/";
      mount.type = "erofs";
      mount.device = "0:4711";  // of no block device
      mount.source = At(name) + ".erofs";
      mounts_.push_back(mount);
    }
    list_ = {{"overlay", "overlay", "", {"index=off", "workdir=" + At("work"), "upperdir=" + At("up"), Lower()}}};
  }
  std::string At(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string Lower() const { return "lowerdir=" + At("2") + ":" + At("1"); }
  bool IsFound() { return FindImageLayers(list_, mounts_).has_value(); }

  TestDirectory directory_;
  std::vector<MountEntry> mounts_;
  std::vector<RootfsMount> list_;
};

TEST_F(ImageLayersTest, AreTheFilesThatAreMounted) {
  const auto layers = FindImageLayers(list_, mounts_);
  ASSERT_TRUE(layers.has_value());
  EXPECT_THAT(layers->images, ElementsAre(At("2.erofs"), At("1.erofs")));
  EXPECT_TRUE(layers->is_written);

  list_[0].options = {Lower()};
  EXPECT_FALSE(FindImageLayers(list_, mounts_)->is_written);
}

TEST_F(ImageLayersTest, WhatWasWrittenIsNotLeftOut) {
  std::ofstream(At("up/file")) << "x";
  EXPECT_FALSE(IsFound());
}

TEST_F(ImageLayersTest, TheMountOnTopCounts) {
  MountEntry other = mounts_[0];
  other.type = "tmpfs";
  mounts_.push_back(other);
  EXPECT_FALSE(IsFound());
}

TEST_F(ImageLayersTest, AllOfThemOrNone) {
  mounts_.pop_back();
  EXPECT_FALSE(IsFound());
}

TEST_F(ImageLayersTest, APartOfAFileSystemIsNoLayer) {
  mounts_[0].root = "/part";
  EXPECT_FALSE(IsFound());
}

TEST_F(ImageLayersTest, WordsThatMeanMoreAreForTheHost) {
  for (const char* word : {"metacopy=on", "uidmap=0:1:1", "userxattr", "X-containerd.x"}) {
    auto list = list_;
    list[0].options.push_back(word);
    EXPECT_FALSE(FindImageLayers(list, mounts_).has_value()) << word;
  }
  list_[0].options = {"lowerdir=" + At("2") + "\\:" + At("1")};
  EXPECT_FALSE(IsFound());
}

TEST_F(ImageLayersTest, OtherListsAreForTheHost) {
  list_[0].target = "below";
  EXPECT_FALSE(IsFound());
  list_[0].target = "";
  list_.push_back(list_[0]);
  EXPECT_FALSE(IsFound());
  EXPECT_FALSE(FindImageLayers({}, mounts_).has_value());
}

TEST_F(ImageLayersTest, HaveABound) {
  std::string many = Lower();
  for (size_t i = 2; i < kImageLayersMax; ++i) many += ":" + At("1");
  list_[0].options = {many};
  EXPECT_TRUE(IsFound());
  list_[0].options = {many + ":" + At("1")};
  EXPECT_FALSE(IsFound());
}

TEST_F(ImageLayersTest, AnImageThatTheGuestCannotMountIsForTheHost) {
  WriteImage(At("1.erofs"), {.features = 0x80});
  EXPECT_FALSE(IsFound());
}

TEST_F(ImageLayersTest, ImagesAreJudgedByTheirHead) {
  const std::string path = At("image");
  const auto why = [&path](const Superblock& block) {
    WriteImage(path, block);
    return std::string(CheckErofsImage(path).message());
  };
  EXPECT_EQ(why({}), "");
  EXPECT_EQ(why({.features = 0x3f, .algorithms = 1}), "");
  EXPECT_EQ(why({.algorithms = 0xffff}), "");  // another setting, without the feature
  EXPECT_THAT(why({.features = 0x2, .algorithms = 0x2}), HasSubstr("another way than LZ4"));
  EXPECT_THAT(why({.features = 0x40}), HasSubstr("not known (0x40)"));
  EXPECT_THAT(why({.features = 0x8, .devices = 1}), HasSubstr("on other devices"));
  EXPECT_THAT(why({.block_bits = 9}), HasSubstr("not of 4 KiB"));
  EXPECT_THAT(why({.magic = 1}), HasSubstr("no erofs"));
  std::ofstream(path) << "short";
  EXPECT_THAT(std::string(CheckErofsImage(path).message()), HasSubstr("too small"));
  EXPECT_TRUE(absl::IsNotFound(CheckErofsImage(path + "-not")));
}

}  // namespace
}  // namespace kata::virtcontainers
