// SPDX-License-Identifier: Apache-2.0
// Where a shim answers about its pod: the socket http.sock in the sandbox's directory, for root only. The name is
// short, and the path of a Kubernetes pod's fits a socket address.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::shimv2 {

// A listening socket, and the sandbox's directory for it; one that an earlier shim has left there is replaced.
// Blocking, for microseconds. InvalidArgument when `sandbox_name` cannot be a directory's.
absl::StatusOr<UniqueFd> ListenForManagement(const std::string& sandbox_name);

}  // namespace kata::shimv2
