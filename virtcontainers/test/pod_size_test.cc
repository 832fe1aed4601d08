// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/size/pod_size.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMiB = 1u << 20;
constexpr HostSize kHost{uint64_t{16384} * kMiB, 8};

PodSize Read(const char* text) { return ReadPodSize(Json::parse(text)); }

Config Fitted(const PodSize& pod, const HostSize& host = kHost, bool memory_given = false,
              bool processors_given = false) {
  Config config;
  config.default_memory = 512;
  config.default_vcpus = 1;
  config.overhead_memory = 100;
  FitMachine(pod, host, memory_given, processors_given, config);
  return config;
}

TEST(ReadPodSize, OfAContainerIsItsLimits) {
  const PodSize size =
      Read(R"({"linux":{"resources":{"memory":{"limit":1048576},"cpu":{"quota":150000,"period":100000}}}})");
  EXPECT_EQ(size.memory, kMiB);
  EXPECT_EQ(size.processors, 2U);
  EXPECT_FALSE(size.is_sum);
  EXPECT_EQ(Read(R"({"linux":{"resources":{"cpu":{"quota":50000}}}})").processors, 1U);
}

TEST(ReadPodSize, OfAPodIsWhatTheKubeletSays) {
  const PodSize size = Read(R"({"annotations":{"io.kubernetes.cri.sandbox-memory":"2147483648",
      "io.kubernetes.cri.sandbox-cpu-quota":"250000","io.kubernetes.cri.sandbox-cpu-period":"100000"},
      "linux":{"resources":{"memory":{"limit":1}}}})");
  EXPECT_EQ(size.memory, 2048 * kMiB);
  EXPECT_EQ(size.processors, 3U);
  EXPECT_TRUE(size.is_sum);
}

TEST(ReadPodSize, WhatIsNoLimitIsNone) {
  for (const char* text :
       {"{}", R"({"linux":null,"annotations":7})",
        R"({"linux":{"resources":{"memory":{"limit":-1},"cpu":{"quota":-1}}}})",
        R"({"linux":{"resources":{"memory":{"limit":9223372036854771712},"cpu":{"quota":0,"period":5}}}})",
        R"({"linux":{"resources":{"memory":{"limit":18446744073709551615},"cpu":{"quota":"x"}}}})",
        R"({"annotations":{"io.kubernetes.cri.sandbox-memory":"0","io.kubernetes.cri.sandbox-cpu-quota":"-1"}})",
        R"({"annotations":{"io.kubernetes.cri.sandbox-memory":"much"}})"}) {
    EXPECT_EQ(Read(text).memory, 0U) << text;
    EXPECT_EQ(Read(text).processors, 0U) << text;
  }
}

TEST(FitMachine, HasWhatMayBeUsedAndTheOverhead) {
  EXPECT_EQ(Fitted({128 * kMiB, 2, false}).default_memory, 230U);  // 128, 2 for its pages, 100
  EXPECT_EQ(Fitted({128 * kMiB, 2, false}).default_vcpus, 2U);
  EXPECT_EQ(Fitted({4096 * kMiB, 0, false}).default_memory, 4260U);
  EXPECT_EQ(Fitted({4096 * kMiB, 0, false}).default_vcpus, 1U);
  EXPECT_EQ(Fitted({}).default_memory, 512U);
}

TEST(FitMachine, HugePagesComeBesides) {
  const PodSize size = Read(R"({"linux":{"resources":{"hugepageLimits":[{"pageSize":"2MB","limit":33554432},
      {"pageSize":"1GB","limit":0},{"pageSize":"64KB","limit":18446744073709551615}]}}})");
  EXPECT_EQ(size.hugepages, 32 * kMiB);
  EXPECT_EQ(size.memory, 0U);
  EXPECT_EQ(Fitted(size).default_memory, 544U);
  EXPECT_EQ(Fitted(size).memory_without_limit, 512U);
  EXPECT_EQ(Fitted({128 * kMiB, 2, false, 32 * kMiB}).default_memory, 262U);
}

TEST(PodSizeOf, HasNoLimitWhereNoneIsGiven) {
  EXPECT_EQ(PodSizeOf(0, 0, 0).memory, 0U);
  EXPECT_EQ(PodSizeOf(0, -1, 100000).processors, 0U);
  EXPECT_EQ(PodSizeOf(int64_t{9223372036854771712}, 0, 0).memory, 0U);  // the largest that a cgroup takes
  EXPECT_EQ(PodSizeOf(int64_t{2048} << 20, 250000, 0).memory, 2048 * kMiB);
  EXPECT_EQ(PodSizeOf(0, 250000, 0).processors, 3U);
  EXPECT_EQ(PodSizeOf(0, 250000, 50000).processors, 5U);
  EXPECT_TRUE(PodSizeOf(0, 0, 0).is_sum);
}

TEST(FitMachine, APodHasTheSumOfItsLimitsAndAtLeastTheProcessorsOfTheConfiguration) {
  EXPECT_EQ(Fitted({64 * kMiB, 1, true}).default_memory, 166U);
  EXPECT_EQ(Fitted({64 * kMiB, 1, true}).memory_without_limit, 512U);
  EXPECT_EQ(Fitted({0, 1, true}).default_memory, 512U);
  EXPECT_EQ(Fitted({2048 * kMiB, 1, true}).default_vcpus, 1U);
  EXPECT_EQ(Fitted({2048 * kMiB, 3, true}).default_memory, 2180U);
  EXPECT_EQ(Fitted({2048 * kMiB, 3, true}).default_vcpus, 3U);
}

TEST(FitMachine, HasNoMoreThanTheHost) {
  EXPECT_EQ(Fitted({uint64_t{1} << 50, 64, false}, {uint64_t{1024} * kMiB, 4}).default_memory, 1140U);
  EXPECT_EQ(Fitted({uint64_t{1} << 50, 64, false}, {uint64_t{1024} * kMiB, 4}).default_vcpus, 4U);
}

TEST(FitMachine, LeavesWhatAnAnnotationHasSet) {
  EXPECT_EQ(Fitted({2048 * kMiB, 3, false}, kHost, true, false).default_memory, 512U);
  EXPECT_EQ(Fitted({2048 * kMiB, 3, false}, kHost, false, true).default_vcpus, 1U);
}

TEST(ReadHostSize, IsTheHosts) {
  EXPECT_GT(ReadHostSize().memory, 64 * kMiB);
  EXPECT_GE(ReadHostSize().processors, 1U);
}

TEST(FitMachine, CanGrowToWhatTheHostHas) {
  const Config config = Fitted(PodSize());
  EXPECT_EQ(config.default_maxmemory, 16384U);
  EXPECT_EQ(config.default_maxvcpus, 8U);
  EXPECT_EQ(Fitted(PodSize(), {kHost.memory, 2}).default_maxvcpus, 2U);
  const Config given = Fitted(PodSize(), kHost, true, true);
  EXPECT_EQ(given.default_maxmemory, given.default_memory);
  EXPECT_EQ(given.default_maxvcpus, given.default_vcpus);
}

}  // namespace
}  // namespace kata::virtcontainers
