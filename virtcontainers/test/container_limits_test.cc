// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/size/container_limits.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kata::virtcontainers {
namespace {

ContainerLimits Read(const char* text) { return ReadContainerLimits(nlohmann::json::parse(text)); }

TEST(ContainerLimits, AreThoseOfTheDocument) {
  const ContainerLimits limits = Read(R"({"memory":{"limit":4096},"cpu":{"quota":150000,"period":100000}})");
  EXPECT_EQ(limits.memory, 4096U);
  EXPECT_EQ(MilliProcessors(limits), 1500U);
  EXPECT_EQ(MilliProcessors(Read(R"({"cpu":{"quota":10000}})")), 100U);
  EXPECT_EQ(MilliProcessors(Read(R"({"cpu":{"quota":1,"period":1000000}})")), 1U);
}

TEST(ContainerLimits, WhatIsNoLimitIsNone) {
  for (const char* text :
       {"null", "7", "{}", R"({"memory":7,"cpu":[]})", R"({"memory":{"limit":-1},"cpu":{"quota":-1}})",
        R"({"memory":{"limit":"x"},"cpu":{"quota":null}})"}) {
    EXPECT_EQ(Read(text), ContainerLimits()) << text;
  }
}

TEST(ContainerLimits, AnUpdateKeepsWhatItLeavesOut) {
  const ContainerLimits before = Read(R"({"memory":{"limit":4096},"cpu":{"quota":50000,"period":50000}})");
  const auto after = [&before](const char* text) { return UpdatedLimits(before, nlohmann::json::parse(text)); };
  EXPECT_EQ(after("{}"), before);
  EXPECT_EQ(after(R"({"memory":{"limit":0},"cpu":{"quota":0,"period":0,"shares":2}})"), before);
  EXPECT_EQ(after(R"({"memory":{"limit":8192}})").memory, 8192U);
  EXPECT_EQ(MilliProcessors(after(R"({"cpu":{"quota":100000}})")), 2000U);
  EXPECT_EQ(MilliProcessors(after(R"({"cpu":{"period":100000}})")), 500U);
  EXPECT_EQ(after(R"({"memory":{"limit":-1}})").memory, 0U);
  EXPECT_EQ(MilliProcessors(after(R"({"cpu":{"quota":-1}})")), 0U);
}

}  // namespace
}  // namespace kata::virtcontainers
