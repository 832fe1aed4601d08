// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bundle.h"

#include <gtest/gtest.h>

namespace kata::shimv2 {
namespace {

std::string Spec(const std::string& annotations) {
  return R"({"process":{},"root":{"path":"rootfs"},"hostname":"h","linux":{"namespaces":[{"type":"pid"},)"
         R"({"type":"network","path":"/run/netns/a"}]},"annotations":{)" +
         annotations + "}}";
}

TEST(Bundle, ContainerAloneIsItsOwnSandbox) {
  auto info = ParseBundle(Spec(""), "box");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->sandbox_id, "box");
  EXPECT_FALSE(info->joins_sandbox);
  EXPECT_EQ(info->hostname, "h");
  EXPECT_EQ(info->netns_path, "/run/netns/a");
  EXPECT_EQ(info->rootfs_path, "rootfs");
}

TEST(Bundle, CriContainerJoinsItsSandbox) {
  auto info = ParseBundle(
      Spec(R"("io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"pod")"), "box");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->sandbox_id, "pod");
  EXPECT_TRUE(info->joins_sandbox);
}

TEST(Bundle, CriSandboxStartsOne) {
  auto info = ParseBundle(
      Spec(R"("io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-id":"pod")"), "pod");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_FALSE(info->joins_sandbox);
}

TEST(Bundle, CriOContainerJoinsItsSandbox) {
  auto info = ParseBundle(
      Spec(R"("io.kubernetes.cri-o.ContainerType":"container","io.kubernetes.cri-o.SandboxID":"pod")"), "box");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_TRUE(info->joins_sandbox);
}

TEST(Bundle, GarbageIsNamed) {
  EXPECT_NE(ParseBundle("{garbage", "box").status().message().find("not valid JSON"), std::string::npos);
  EXPECT_NE(ParseBundle("[]", "box").status().message().find("not an OCI runtime spec"), std::string::npos);
}

TEST(Bundle, MissingFileIsNamed) {
  auto info = ReadBundle("/nonexistent", "box");

  EXPECT_NE(info.status().message().find("\"/nonexistent/config.json\": no such file or directory"),
            std::string::npos);
}

}  // namespace
}  // namespace kata::shimv2
