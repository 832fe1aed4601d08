// SPDX-License-Identifier: Apache-2.0
#include "agent/spec.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

namespace kata::agent {
namespace {

constexpr char kMinimal[] =
    R"({"process":{"args":["/bin/true"],"cwd":"/"},"root":{"path":"/rootfs"}})";

std::string WithLinux(const std::string& linux_json) {
  return R"({"process":{"args":["a"],"cwd":"/"},"root":{"path":"/r"},"linux":)" + linux_json + "}";
}

TEST(ParseContainerSpec, TakesAMinimalDocument) {
  auto spec = ParseContainerSpec(kMinimal);

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->root_path, "/rootfs");
  EXPECT_EQ(spec->process.umask, 022u);
  EXPECT_FALSE(spec->seccomp.has_value());
}

TEST(ParseContainerSpec, RefusesBrokenJsonAndWrongTypes) {
  EXPECT_TRUE(absl::IsInvalidArgument(ParseContainerSpec("{").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseContainerSpec("[]").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ParseContainerSpec(R"({"process":{"args":"x","cwd":"/"},"root":{"path":"/r"}})").status()));
}

TEST(ParseContainerSpec, RefusesARelativeRoot) {
  auto spec =
      ParseContainerSpec(R"({"process":{"args":["a"],"cwd":"/"},"root":{"path":"rootfs"}})");

  EXPECT_TRUE(absl::IsInvalidArgument(spec.status()));
}

TEST(ParseContainerSpec, RefusesUserNamespacesWithAReason) {
  auto spec = ParseContainerSpec(WithLinux(R"({"namespaces":[{"type":"user"}]})"));

  EXPECT_TRUE(absl::IsInvalidArgument(spec.status()));
  EXPECT_NE(spec.status().message().find("user namespaces"), std::string::npos);
}

TEST(ParseContainerSpec, TellsJoinedNamespacesFromNewOnes) {
  auto spec = ParseContainerSpec(WithLinux(
      R"({"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/9/ns/ipc"},{"type":"network"}]})"));

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(spec->namespaces.has_pid);
  EXPECT_FALSE(spec->namespaces.joins_pid);
  EXPECT_TRUE(spec->namespaces.joins_ipc);
  EXPECT_FALSE(spec->namespaces.has_uts);
}

TEST(ParseContainerSpec, ReadsDevices) {
  auto spec = ParseContainerSpec(WithLinux(
      R"({"devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438}]})"));

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->devices[0].type, static_cast<mode_t>(S_IFCHR));
  EXPECT_EQ(spec->devices[0].minor, 229u);
  EXPECT_EQ(spec->devices[0].mode, 0666u);
}

TEST(ParseProcessSpec, ReadsUserAndLimits) {
  auto spec = ParseProcessSpec(
      R"({"args":["id"],"cwd":"/","user":{"uid":7,"gid":8,"additionalGids":[9],"umask":63},)"
      R"("rlimits":[{"type":"RLIMIT_NOFILE","hard":2048,"soft":1024}],"oomScoreAdj":-5})");

  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->uid, 7u);
  EXPECT_EQ(spec->additional_gids, std::vector<gid_t>{9});
  EXPECT_EQ(spec->umask, 077u);
  EXPECT_EQ(spec->rlimits[0].resource, static_cast<int>(RLIMIT_NOFILE));
  EXPECT_EQ(spec->rlimits[0].soft, 1024u);
  EXPECT_EQ(spec->oom_score_adj, -5);
  EXPECT_FALSE(spec->capabilities.has_value());
}

TEST(ParseProcessSpec, RefusesUnknownLimitsAndEmptyArguments) {
  EXPECT_FALSE(
      ParseProcessSpec(R"({"args":["a"],"cwd":"/","rlimits":[{"type":"RLIMIT_X"}]})").ok());
  EXPECT_FALSE(ParseProcessSpec(R"({"args":[],"cwd":"/"})").ok());
  EXPECT_FALSE(ParseProcessSpec(R"({"args":["a"],"cwd":"here"})").ok());
}

}  // namespace
}  // namespace kata::agent
