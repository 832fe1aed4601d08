// SPDX-License-Identifier: Apache-2.0
#include "agent/refused_limits.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kata::agent {
namespace {

absl::Status Refuse(const char* text, LimitsFor use) {
  return RefuseUnknownLimits(nlohmann::json::parse(text), use);
}

TEST(RefuseUnknownLimits, NamesTheLimit) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"cpu":{"realtimeRuntime":950000}})", "linux.resources.cpu.realtimeRuntime"},
      {R"({"cpu":{"realtimePeriod":1000000}})", "linux.resources.cpu.realtimePeriod"},
      {R"({"memory":{"kernel":1048576}})", "linux.resources.memory.kernel"},
      {R"({"memory":{"kernelTCP":1048576}})", "linux.resources.memory.kernelTCP"},
      {R"({"memory":{"disableOOMKiller":true}})", "linux.resources.memory.disableOOMKiller"},
      {R"({"network":{"classID":1048577}})", "linux.resources.network.classID"},
      {R"({"network":{"priorities":[{"name":"eth0","priority":5}]}})",
       "linux.resources.network.priorities"},
      {R"({"rdma":{"mlx5_1":{"hcaHandles":3}}})", "linux.resources.rdma"}};
  for (const auto& [text, name] : cases) {
    for (LimitsFor use : {LimitsFor::kCreate, LimitsFor::kUpdate}) {
      const absl::Status status = Refuse(text, use);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << text << ": " << status;
      EXPECT_EQ(status.message().find(std::string(name) + ":"), 0u) << text << ": " << status;
    }
  }
}

TEST(RefuseUnknownLimits, RefusesHintsInAnUpdateOnly) {
  for (const char* text : {R"({"memory":{"swappiness":0}})", R"({"blockIO":{"leafWeight":100}})"}) {
    EXPECT_TRUE(Refuse(text, LimitsFor::kCreate).ok()) << text;
    EXPECT_TRUE(absl::IsInvalidArgument(Refuse(text, LimitsFor::kUpdate))) << text;
  }
}

TEST(RefuseUnknownLimits, TakesWhatEnginesSendForNothing) {
  for (
      const char* text :
      {"{}", R"({"cpu":null,"memory":[],"network":{},"rdma":{}})",
       R"({"cpu":{"realtimeRuntime":0,"realtimePeriod":0},"memory":{"kernel":-1,"kernelTCP":0,"disableOOMKiller":false,)"
       R"("swappiness":null},"network":{"classID":0,"priorities":[]},"rdma":null})"}) {
    EXPECT_TRUE(Refuse(text, LimitsFor::kUpdate).ok()) << text;
  }
}

}  // namespace
}  // namespace kata::agent
