// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup.h"

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

std::string ValueOf(const Resources& resources, const std::string& file) {
  auto values = CgroupValues(resources);
  if (!values.ok()) return values.status().ToString();
  for (const auto& [name, value] : *values) {
    if (name == file) return value;
  }
  return "unset";
}

TEST(CpuWeightOfShares, MapsTheRange) {
  EXPECT_EQ(CpuWeightOfShares(0), 0u);
  EXPECT_EQ(CpuWeightOfShares(2), 1u);
  EXPECT_EQ(CpuWeightOfShares(1024), 39u);
  EXPECT_EQ(CpuWeightOfShares(262144), 10000u);
  EXPECT_EQ(CpuWeightOfShares(1u << 30), 10000u);
}

TEST(CgroupValues, WritesNothingForNoLimits) {
  auto values = CgroupValues(Resources());

  ASSERT_TRUE(values.ok());
  EXPECT_TRUE(values->empty());
}

TEST(CgroupValues, TranslatesTheCpuQuota) {
  Resources resources;
  resources.cpu_quota = 50000;
  EXPECT_EQ(ValueOf(resources, "cpu.max"), "50000 100000");

  resources.cpu_quota = -1;
  resources.cpu_period = 20000;
  EXPECT_EQ(ValueOf(resources, "cpu.max"), "max 20000");
}

TEST(CgroupValues, SwapIsWhatExceedsTheMemoryLimit) {
  Resources resources;
  resources.memory_limit = 100;
  resources.memory_swap = 250;

  EXPECT_EQ(ValueOf(resources, "memory.max"), "100");
  EXPECT_EQ(ValueOf(resources, "memory.swap.max"), "150");
}

TEST(CgroupValues, RefusesSwapBelowTheLimit) {
  Resources resources;
  resources.memory_limit = 100;
  resources.memory_swap = 50;

  EXPECT_TRUE(absl::IsInvalidArgument(CgroupValues(resources).status()));
}

TEST(CgroupValues, UnlimitedIsMax) {
  Resources resources;
  resources.memory_limit = -1;
  resources.pids_limit = -1;

  EXPECT_EQ(ValueOf(resources, "memory.max"), "max");
  EXPECT_EQ(ValueOf(resources, "pids.max"), "max");
}

TEST(CgroupValues, RefusesUnifiedKeysThatLeaveTheDirectory) {
  Resources resources;
  resources.unified["../memory.max"] = "1";

  EXPECT_TRUE(absl::IsInvalidArgument(CgroupValues(resources).status()));
}

}  // namespace
}  // namespace kata::agent
