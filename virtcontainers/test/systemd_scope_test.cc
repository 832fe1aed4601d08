// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/cgroup/systemd_scope.h"

#include <unistd.h>

#include <gtest/gtest.h>

namespace kata::virtcontainers {
namespace {

TEST(SystemdScope, TellsTheTwoFormsApart) {
  EXPECT_TRUE(IsSystemdName("system.slice:docker:abc"));
  EXPECT_TRUE(IsSystemdName("::abc"));
  for (const char* path : {"/kubepods/pod1/abc", "/a:b:c", "abc", "a:b", ""}) EXPECT_FALSE(IsSystemdName(path)) << path;
}

TEST(SystemdScope, NamesWhereItIs) {
  auto scope = ParseSystemdName("kubepods-burstable-pod1_2.slice:cri-containerd:abc");
  ASSERT_TRUE(scope.ok()) << scope.status();
  EXPECT_EQ(scope->unit, "cri-containerd-abc.scope");
  EXPECT_EQ(PathOfScope(*scope),
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-abc.scope");
  EXPECT_EQ(PathOfScope(*ParseSystemdName("::abc")), "system.slice/abc.scope");
  EXPECT_EQ(PathOfScope(*ParseSystemdName("-.slice:x:y")), "x-y.scope");
}

TEST(SystemdScope, RefusesWhatSystemdCannotName) {
  for (const char* name : {"a:b", "system:docker:x", "a--b.slice:x:y", "-a.slice:x:y", ".slice:x:y",
                           "a.slice:x:", "a.slice:x:b.slice", "a.slice:x:b c", "../a.slice:x:y"})
    EXPECT_FALSE(ParseSystemdName(name).ok()) << name;
}

TEST(SystemdScope, SaysThatSystemdIsNotThere) {
  const absl::Status status = StartScope({"system.slice", "x.scope"}, ::getpid(), "/nowhere/private");
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("\"x.scope\" of \"system.slice\""), std::string::npos) << status;
  EXPECT_NE(status.message().find("\"/nowhere/private\""), std::string::npos) << status;
}

}  // namespace
}  // namespace kata::virtcontainers
