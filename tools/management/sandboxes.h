// SPDX-License-Identifier: Apache-2.0
// Which sandboxes this host has, by their directories. Blocking.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <nlohmann/json.hpp>

namespace kata::management {

// Names of the sandboxes' directories, also of those whose shim has died.
std::vector<std::string> ListSandboxes();

struct Pod {
  std::string sandbox;           // its directory's name
  nlohmann::ordered_json state;  // as /state has it; null when its shim did not answer
  std::string error;             // why not
};

// All of them, by name. A pod that ends meanwhile is not in it.
std::vector<Pod> LookAtPods();
// The one that `word` means: its sandbox or a container by the beginning of the id, or its name, "NAMESPACE/NAME" or
// "NAME". An error says which it could be.
absl::StatusOr<Pod> FindPod(const std::string& word);

}  // namespace kata::management
