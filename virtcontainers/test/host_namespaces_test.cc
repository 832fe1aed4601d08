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
using testing::StartsWith;

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
    EXPECT_THAT(std::string(found.status().message()), StartsWith("linux.namespaces: no " + missing + " namespace ("));
    for (const std::string& part : parts) EXPECT_THAT(std::string(found.status().message()), HasSubstr(part));
  }
}

TEST(HostNamespaces, AnOperatorMayLetOneBeTheMachines) {
  auto found = Check(R"([{"type": "ipc"}])", {.network = HostNamespace::kMachine, .pid = HostNamespace::kMachine});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, ElementsAre("network", "pid"));
  EXPECT_FALSE(Check("[]", {.network = HostNamespace::kMachine, .pid = HostNamespace::kMachine}).ok());
}

TEST(HostNamespaces, APodWithoutADocumentIsHeldToTheSame) {
  const std::set<std::string> asked = {"network", "ipc"};
  auto refused = CheckHostNamespaces(asked, {.ipc = HostNamespace::kMachine});
  EXPECT_THAT(std::string(refused.status().message()), StartsWith("namespace_options: network is NODE (hostNetwork"));
  auto accepted = CheckHostNamespaces(asked, {.network = HostNamespace::kMachine, .ipc = HostNamespace::kMachine});
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_THAT(*accepted, ElementsAre("network", "ipc"));
  EXPECT_TRUE(CheckHostNamespaces(std::set<std::string>(), {}).ok());
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
