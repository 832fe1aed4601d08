// SPDX-License-Identifier: Apache-2.0
// The `start` action: gives the pod's address, making the daemon when the pod is new (docs/shim-contract.md section 1).
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "shimv2/bootstrap/arguments.h"
#include "shimv2/pod/bundle.h"

namespace kata::shimv2 {

// Runs in the bundle. Returns the address to print; nothing stays behind on failure. In the daemon, which is forked
// from here, it does not return.
absl::StatusOr<std::string> Start(const Arguments& arguments);
// For a container that joins: the path of the running shim of `info`'s sandbox, found by its computed name or by the
// sandbox's own bundle beside `bundle`. Unavailable when none accepts.
absl::StatusOr<std::string> FindSandboxSocket(const std::string& bundle, const std::string& computed_path,
                                              const BundleInfo& info);

}  // namespace kata::shimv2
