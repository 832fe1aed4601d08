// SPDX-License-Identifier: Apache-2.0
// The `start` action: gives the pod's address, making the daemon when the pod is new (shim-contract section 1).
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "shimv2/arguments.h"

namespace kata::shimv2 {

// Runs in the bundle. Returns the address to print; nothing stays behind on failure. In the daemon, which is forked
// from here, it does not return.
absl::StatusOr<std::string> Start(const Arguments& arguments);

}  // namespace kata::shimv2
