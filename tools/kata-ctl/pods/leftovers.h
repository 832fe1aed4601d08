// SPDX-License-Identifier: Apache-2.0
// What shims that have died have left on this host. Blocking.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>

namespace kata::ctl {

struct Leftover {
  std::string sandbox;
  std::string why;             // it is one, or why it may not be
  bool may_be_removed = true;  // else a person has to look
};

// What a live shim answers for is never among them.
std::vector<Leftover> FindLeftovers();
// With its processes, mounts, network and cgroups. Idempotent.
absl::Status RemoveLeftover(const Leftover& leftover);

}  // namespace kata::ctl
