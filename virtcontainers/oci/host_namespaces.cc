// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/host_namespaces.h"

#include <set>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

namespace kata::virtcontainers {
namespace {

struct Kind {
  const char* type;
  const char* words;  // of callers
  HostNamespace HostNamespaceRules::*rule;
};
constexpr Kind kKinds[] = {
    {"network", "hostNetwork, --network host", &HostNamespaceRules::network},
    {"pid", "hostPID, --pid host", &HostNamespaceRules::pid},
    {"ipc", "hostIPC, --ipc host", &HostNamespaceRules::ipc},
};

constexpr char kOfDocument[] = "linux.namespaces: ";

absl::Status Refuse(const Kind& kind, const std::string& found) {
  return absl::InvalidArgumentError(
      absl::StrCat(found, " (", kind.words, "): a virtual machine cannot have the host's ", kind.type,
                   " namespace; leave that out or run it by another runtime, or let it be the machine's own by host_",
                   kind.type, " = \"machine\" in the configuration"));
}

std::set<std::string> TypesOf(const nlohmann::json& spec) {
  std::set<std::string> types;
  const auto linux = spec.find("linux");
  if (linux == spec.end() || !linux->is_object()) return types;
  const auto list = linux->find("namespaces");
  if (list == linux->end() || !list->is_array()) return types;
  for (const auto& entry : *list) {
    if (!entry.is_object()) continue;
    const auto type = entry.find("type");
    if (type != entry.end() && type->is_string()) types.insert(type->get<std::string>());
  }
  return types;
}

}  // namespace

HostNamespaceRules HostNamespaceRulesOf(const Config& config) {
  return {.network = config.host_network, .pid = config.host_pid, .ipc = config.host_ipc};
}

absl::StatusOr<std::vector<std::string>> CheckHostNamespaces(const OciDocument& document,
                                                             const HostNamespaceRules& rules) {
  const std::set<std::string> types = TypesOf(document.json());
  std::vector<std::string> accepted;
  for (const Kind& kind : kKinds) {
    if (types.contains(kind.type)) continue;
    if (rules.*kind.rule == HostNamespace::kRefuse)
      return Refuse(kind, absl::StrCat(kOfDocument, "no ", kind.type, " namespace"));
    accepted.emplace_back(kind.type);
  }
  return accepted;
}

absl::StatusOr<std::vector<std::string>> CheckHostNamespaces(const std::set<std::string>& asked,
                                                             const HostNamespaceRules& rules) {
  std::vector<std::string> accepted;
  for (const Kind& kind : kKinds) {
    if (!asked.contains(kind.type)) continue;
    if (rules.*kind.rule == HostNamespace::kRefuse)
      return Refuse(kind, absl::StrCat("namespace_options: ", kind.type, " is NODE"));
    accepted.emplace_back(kind.type);
  }
  return accepted;
}

absl::Status RefuseHostNetwork(const std::string& path) {
  return Refuse(kKinds[0], absl::StrCat(kOfDocument, "network at \"", path, "\" is the host's"));
}

}  // namespace kata::virtcontainers
