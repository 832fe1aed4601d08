// SPDX-License-Identifier: Apache-2.0
// The tap device beside a pod's interface, by which the machine's card is reached. It dies with the last of those who
// have it open: the shim until the machine has it, then the machine's process. Blocking; pool threads.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"
#include "virtcontainers/network/pod_network.h"

namespace kata::virtcontainers {

struct Tap {
  std::string name;
  int index = 0;
  UniqueFd fd;  // none: it lives by itself
};

// For `interface`, of its MTU, up, in the calling thread's network namespace, which is that of `socket`. Its alias says
// that it is sandbox `owner`'s.
absl::StatusOr<Tap> MakeTap(nl_sock* socket, const PodInterface& interface, const std::string& owner);

}  // namespace kata::virtcontainers
