// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/host_namespaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtcontainers/network/network_namespace.h"

namespace kata::virtcontainers {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

absl::StatusOr<std::vector<std::string>> Check(const std::string& namespaces, const HostNamespaceRules& rules = {}) {
  auto document = OciDocument::Parse(R"({"process": {}, "root": {}, "linux": {"namespaces": )" + namespaces + "}}");
  EXPECT_TRUE(document.ok()) << document.status();
  return CheckHostNamespaces(**document, rules);
}

TEST(HostNamespaces, NothingToSayOfAContainerWithItsOwn) {
  auto found = Check(R"([{"type": "network"}, {"type": "pid"}, {"type": "ipc", "path": "/proc/7/ns/ipc"}])");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, IsEmpty());
}

TEST(HostNamespaces, RefusesEachByItsNameAndSaysWhatToDo) {
  const std::map<std::string, std::vector<std::string>> words = {
      {"network", {"hostNetwork", "--network host", "host_network = \"machine\""}},
      {"pid", {"hostPID", "--pid host", "host_pid = \"machine\""}},
      {"ipc", {"hostIPC", "--ipc host", "host_ipc = \"machine\""}},
  };
  for (const auto& [missing, parts] : words) {
    std::string list = "[";
    for (const auto& [type, unused] : words) {
      if (type != missing) list += (list.size() > 1 ? ", " : "") + std::string(R"({"type": ")") + type + "\"}";
    }
    auto found = Check(list + "]");
    ASSERT_EQ(found.status().code(), absl::StatusCode::kInvalidArgument) << missing;
    EXPECT_THAT(std::string(found.status().message()), HasSubstr("linux.namespaces: no " + missing + " namespace"));
    for (const std::string& part : parts) EXPECT_THAT(std::string(found.status().message()), HasSubstr(part));
  }
}

TEST(HostNamespaces, AnOperatorMayLetOneBeTheMachines) {
  auto found = Check(R"([{"type": "ipc"}])", {.network = HostNamespace::kMachine, .pid = HostNamespace::kMachine});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, ElementsAre("network", "pid"));
  EXPECT_FALSE(Check("[]", {.network = HostNamespace::kMachine, .pid = HostNamespace::kMachine}).ok());
}

TEST(HostNamespaces, TheHostsNetworkIsKnownByAnyPath) {
  auto own = NetworkNamespace::Open("/proc/thread-self/ns/net");
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_TRUE((*own)->IsHosts());
  auto made = NetworkNamespace::Open("");
  if (!made.ok()) GTEST_SKIP() << "needs root: " << made.status();
  EXPECT_FALSE((*made)->IsHosts());
}

}  // namespace
}  // namespace kata::virtcontainers
