// SPDX-License-Identifier: Apache-2.0
// The network namespace that a sandbox's machine runs in. Blocking; pool threads.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

// Opens `path`, or makes a new namespace when it is empty; that one lives as long as a process or
// descriptor uses it.
absl::StatusOr<UniqueFd> OpenNetworkNamespace(const std::string& path);

}  // namespace kata::virtcontainers
