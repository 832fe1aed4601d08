// SPDX-License-Identifier: Apache-2.0
#include "shimv2/pod/bundle.h"

#include <gtest/gtest.h>

#include "proto/base/status.h"
#include "virtcontainers/paths.h"

namespace kata::shimv2 {
namespace {

absl::StatusOr<BundleInfo> ParseBundle(const std::string& text, const std::string& container_id) {
  ASSIGN_OR_RETURN(auto document, virtcontainers::OciDocument::Parse(text));
  return DescribeBundle(std::move(document), container_id);
}

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

TEST(Bundle, AnnotationsOfTheConfigurationAreKept) {
  auto info =
      ParseBundle(Spec(R"("io.katacontainers.config.hypervisor.default_memory":"1024",)"
                       R"("io.katacontainers.config.x":7,"org.example":"no","io.katacontainers.config_path":"/x")"),
                  "box");

  ASSERT_TRUE(info.ok()) << info.status();
  const std::map<std::string, std::string> wanted = {{"io.katacontainers.config.hypervisor.default_memory", "1024"},
                                                     {"io.katacontainers.config_path", "/x"}};
  EXPECT_EQ(info->config_annotations, wanted);
}

TEST(Bundle, CriContainerJoinsItsSandbox) {
  auto info = ParseBundle(
      Spec(R"("io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"pod")"), "box");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->sandbox_id, "pod");
  EXPECT_FALSE(info->is_sandbox);
  EXPECT_TRUE(info->joins_sandbox);
}

TEST(Bundle, CriSandboxStartsOne) {
  auto info =
      ParseBundle(Spec(R"("io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-id":"pod")"), "pod");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_TRUE(info->is_sandbox);
  EXPECT_FALSE(info->joins_sandbox);
}

TEST(Bundle, CriOContainerJoinsItsSandbox) {
  auto info = ParseBundle(
      Spec(R"("io.kubernetes.cri-o.ContainerType":"container","io.kubernetes.cri-o.SandboxID":"pod")"), "box");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_TRUE(info->joins_sandbox);
}

TEST(Bundle, CriOSandboxStartsOne) {
  auto info = ParseBundle(
      Spec(R"("io.kubernetes.cri-o.ContainerType":"sandbox","io.kubernetes.cri-o.SandboxID":"pod")"), "pod");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->sandbox_id, "pod");
  EXPECT_EQ(info->group, "pod");
  EXPECT_TRUE(info->is_sandbox);
  EXPECT_FALSE(info->joins_sandbox);
  EXPECT_FALSE(info->may_join);
}

TEST(Bundle, ContainerOfAPodThatIsNotNamedIsAnError) {
  auto info = ParseBundle(Spec(R"("io.kubernetes.cri.container-type":"container")"), "box");

  EXPECT_NE(info.status().message().find("\"io.kubernetes.cri.sandbox-id\" does not say of which"), std::string::npos);
}

TEST(Bundle, GroupMayBeJoinedAndGivesTheMachineItsName) {
  auto first = ParseBundle(Spec(R"("io.containerd.runc.v2.group":"a/b c")"), "box");
  auto second = ParseBundle(Spec(R"("io.containerd.runc.v2.group":"a/b c")"), "other");

  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->group, "a/b c");
  EXPECT_TRUE(first->may_join);
  EXPECT_FALSE(first->joins_sandbox);
  EXPECT_EQ(first->sandbox_id, second->sandbox_id);
  EXPECT_TRUE(virtcontainers::IsValidSandboxId(first->sandbox_id)) << first->sandbox_id;
}

TEST(Bundle, PodGoesBeforeGroup) {
  auto info = ParseBundle(Spec(R"("io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"pod",)"
                               R"("io.containerd.runc.v2.group":"g")"),
                          "box");

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->group, "pod");
  EXPECT_FALSE(info->may_join);
}

TEST(Bundle, GarbageIsNamed) {
  EXPECT_NE(ParseBundle("{garbage", "box").status().message().find("not valid JSON"), std::string::npos);
  EXPECT_NE(ParseBundle("[]", "box").status().message().find("not an OCI runtime spec"), std::string::npos);
}

TEST(Bundle, MissingFileIsNamed) {
  auto info = ReadBundle("/nonexistent", "box");

  EXPECT_NE(info.status().message().find("\"/nonexistent/config.json\": no such file or directory"), std::string::npos);
  EXPECT_EQ(info.status().code(), absl::StatusCode::kNotFound);
}

TEST(Bundle, WithoutADocumentIsOfASandboxByItself) {
  const BundleInfo info = BundleOfSandbox("pod");

  EXPECT_EQ(info.sandbox_id, "pod");
  EXPECT_EQ(info.group, "pod");
  EXPECT_FALSE(info.joins_sandbox);
  EXPECT_FALSE(info.may_join);
}

}  // namespace
}  // namespace kata::shimv2
