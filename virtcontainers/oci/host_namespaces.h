// SPDX-License-Identifier: Apache-2.0
// Namespaces of the host that a container's document asks for (hostNetwork, hostPID, hostIPC), which no guest can have.
#pragma once

#include <set>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "virtcontainers/config/config.h"
#include "virtcontainers/oci/document.h"

namespace kata::virtcontainers {

struct HostNamespaceRules {
  HostNamespace network = HostNamespace::kRefuse;
  HostNamespace pid = HostNamespace::kRefuse;
  HostNamespace ipc = HostNamespace::kRefuse;
};
HostNamespaceRules HostNamespaceRulesOf(const Config& config);

// What the operator lets be the machine's own instead, e.g. {"network"}, for a warning. InvalidArgument for one that is
// refused: names the field, the words of callers for it, and what to use. Pure; a path that names the host's network
// is NetworkNamespace's to find.
absl::StatusOr<std::vector<std::string>> CheckHostNamespaces(const OciDocument& document,
                                                             const HostNamespaceRules& rules);
// As above, of a pod that no document describes: `asked` are the types.
absl::StatusOr<std::vector<std::string>> CheckHostNamespaces(const std::set<std::string>& asked,
                                                             const HostNamespaceRules& rules);
// The error for the host's network namespace, given as `path`.
absl::Status RefuseHostNetwork(const std::string& path);

}  // namespace kata::virtcontainers
