// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/guest_disks.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

std::vector<DiskWish> Wishes(const std::string& devices, const std::string& rules) {
  auto document = OciDocument::Parse(R"({"process":{},"root":{},"linux":{"devices":)" + devices +
                                     R"(,"resources":{"devices":)" + rules + "}}}");
  EXPECT_TRUE(document.ok()) << document.status();
  return document.ok() ? DisksOf(**document) : std::vector<DiskWish>();
}

constexpr char kDevice[] = R"([{"path":"/dev/x","type":"b","major":7,"minor":3}])";

TEST(DisksOfTest, ADeviceThatARuleNames) {
  const auto wishes = Wishes(kDevice, R"([{"allow":false,"access":"rwm"},
      {"allow":true,"type":"b","major":7,"minor":3,"access":"rwm"}])");
  ASSERT_EQ(wishes.size(), 1u);
  EXPECT_EQ(wishes[0].node.path, "/dev/x");
  EXPECT_EQ(wishes[0].node.major, 7u);
  EXPECT_EQ(wishes[0].node.minor, 3u);
  EXPECT_FALSE(wishes[0].is_read_only);
}

TEST(DisksOfTest, WithoutTheRightToWriteItIsReadOnly) {
  const auto wishes = Wishes(kDevice, R"([{"allow":true,"type":"b","major":7,"minor":3,"access":"rm"}])");
  ASSERT_EQ(wishes.size(), 1u);
  EXPECT_TRUE(wishes[0].is_read_only);
}

TEST(DisksOfTest, APrivilegedContainersListIsNotForTheMachine) {
  EXPECT_TRUE(Wishes(kDevice, R"([{"allow":true,"access":"rwm"}])").empty());
  EXPECT_TRUE(Wishes(kDevice, R"([{"allow":true,"type":"b","major":7,"minor":-1,"access":"rwm"}])").empty());
  EXPECT_TRUE(Wishes(kDevice, R"([{"allow":true,"type":"b","major":7,"minor":3,"access":"rwm"},
      {"allow":false,"type":"b","major":7,"minor":3,"access":"rwm"}])")
                  .empty());
  EXPECT_TRUE(Wishes(kDevice, "[]").empty());
}

TEST(DisksOfTest, OtherKindsAndOddNumbersAreNoDisks) {
  const std::string rules = R"([{"allow":true,"type":"b","major":7,"minor":3,"access":"rwm"}])";
  EXPECT_TRUE(Wishes(R"([{"path":"/dev/x","type":"c","major":7,"minor":3}])", rules).empty());
  EXPECT_TRUE(Wishes(R"([{"path":"/dev/x","type":"b","major":-7,"minor":3}])", rules).empty());
  EXPECT_TRUE(Wishes(R"([{"path":"/dev/x","type":"b","major":4294967303,"minor":3}])", rules).empty());
  EXPECT_TRUE(Wishes(R"([{"path":"/dev/x","type":"b"}])", rules).empty());
  EXPECT_TRUE(Wishes("7", rules).empty());
}

TEST(WithRootfsAtTest, ChangesThePathAlone) {
  const Json spec = Json::parse(WithRootfsAt(R"({"root":{"path":"/a","readonly":true},"process":{"cwd":"/"}})", "/b"));
  EXPECT_EQ(spec, Json::parse(R"({"root":{"path":"/b","readonly":true},"process":{"cwd":"/"}})"));
}

}  // namespace
}  // namespace kata::virtcontainers
