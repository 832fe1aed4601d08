// SPDX-License-Identifier: Apache-2.0
// The `delete` action: removes what a container left on the host when its shim can no longer do so
// (docs/shim-contract.md section 2). Idempotent, bounded well below containerd's 5 s, and never ends a pod over one of
// its containers.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "shimv2/bootstrap/arguments.h"

namespace kata::shimv2 {

// The serialized DeleteResponse to print.
absl::StatusOr<std::string> Delete(const Arguments& arguments);

}  // namespace kata::shimv2
