// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/pod_mounts.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

constexpr char kShm[] = R"({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["size=64m"]})";

Json MountsWith(const std::string& mounts, const std::string& namespaces, const std::string& root,
                const std::string& etc_directory) {
  const std::string text = R"({"process": {}, "root": )" + root + R"(, "mounts": [)" + mounts +
                           R"(], "linux": {"namespaces": [)" + namespaces + "]}}";
  auto document = OciDocument::Parse(text);
  EXPECT_TRUE(document.ok()) << document.status();
  return document.ok() ? WithPodMounts(**document, etc_directory)->json()["mounts"] : Json();
}

TEST(PodMounts, FilesOfThePodComeWhereNothingElseIsMounted) {
  const Json mounts = MountsWith(R"({"destination": "/etc/hosts", "type": "bind", "source": "/kubelet/hosts"})", "",
                                 R"({"path": "r"})", "/bundle/etc");

  ASSERT_EQ(mounts.size(), 3u);
  EXPECT_EQ(mounts[0]["source"], "/kubelet/hosts");
  EXPECT_EQ(mounts[1]["destination"], "/etc/hostname");
  EXPECT_EQ(mounts[1]["source"], "/bundle/etc/hostname");
  EXPECT_EQ(mounts[2]["destination"], "/etc/resolv.conf");
  EXPECT_EQ(mounts[2]["options"], Json::parse(R"(["rbind", "rprivate", "rw"])"));
}

TEST(PodMounts, FilesOfAReadOnlyRootAreReadOnly) {
  const Json mounts = MountsWith("", "", R"({"path": "r", "readonly": true})", "/bundle/etc");

  ASSERT_EQ(mounts.size(), 3u);
  for (const Json& mount : mounts) EXPECT_EQ(mount["options"][2], "ro");
}

TEST(PodMounts, SharedMemoryGoesWithTheIpcNamespace) {
  const std::string root = R"({"path": "r"})";
  const Json shared = MountsWith(kShm, R"({"type": "ipc", "path": "/proc/7/ns/ipc"})", root, "");
  const Json own = MountsWith(kShm, R"({"type": "ipc"})", root, "");
  const Json guests = MountsWith(kShm, "", root, "");

  ASSERT_EQ(shared.size(), 1u);
  EXPECT_EQ(shared[0]["type"], "bind");
  EXPECT_EQ(shared[0]["source"], kSharedMemory);
  EXPECT_EQ(own[0], Json::parse(kShm));
  EXPECT_EQ(guests[0]["type"], "bind");
}

TEST(PodMounts, WhatIsNoDocumentForAContainerStays) {
  auto document = OciDocument::Parse(R"({"process": {}, "root": {}, "mounts": 7, "linux": [1]})");
  ASSERT_TRUE(document.ok());

  EXPECT_EQ(WithPodMounts(**document, "/bundle/etc")->json(), (*document)->json());
}

}  // namespace
}  // namespace kata::virtcontainers
