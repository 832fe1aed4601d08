// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/layers.h"

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

TEST(LayersTest, NeedBothTypes) {
  EXPECT_TRUE(HasLayerTypes("nodev\tsysfs\n\terofs\nnodev\toverlay\n"));
  EXPECT_FALSE(HasLayerTypes("nodev\tsysfs\nnodev\toverlay\n"));
  EXPECT_FALSE(HasLayerTypes("\terofs2\nnodev\toverlay\n"));
}

TEST(LayersTest, HaveShortNames) {
  const std::vector<std::string> layers(kLayersMax, "/proc/self");
  auto open = OpenLayers(layers);
  ASSERT_TRUE(open.ok()) << open.status();
  const std::string words = WordsOfLayers(*open);
  EXPECT_EQ(words.find("/proc/self/fd/"), 0u);
  EXPECT_LT(words.size(), 2048u);  // beside the words for what is written
}

TEST(LayersTest, HaveABound) {
  const std::vector<std::string> layers(kLayersMax + 1, "/proc/self");
  EXPECT_TRUE(absl::IsResourceExhausted(OpenLayers(layers).status()));
}

TEST(LayersTest, WhatIsNotThereIsNamed) {
  EXPECT_EQ(OpenLayers({"/proc/self", "/nonexistent"}).status().message(),
            "opening layer \"/nonexistent\": no such file or directory");
}

}  // namespace
}  // namespace kata::agent
