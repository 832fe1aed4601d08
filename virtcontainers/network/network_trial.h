// SPDX-License-Identifier: Apache-2.0
// Whether this host's kernel has what joins a pod's interface to its machine. Blocking; any thread.
#pragma once

#include <absl/status/status.h>

#include "virtcontainers/config/config.h"

namespace kata::virtcontainers {

// Makes it once, in a network namespace of its own, which goes with it. The error is the kernel's.
absl::Status TryNetwork(NetworkModel model);

}  // namespace kata::virtcontainers
