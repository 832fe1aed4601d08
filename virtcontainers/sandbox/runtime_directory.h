// SPDX-License-Identifier: Apache-2.0
// The directory of one sandbox on the host (paths.h). Blocking. Any thread.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace kata::virtcontainers {

// OK when it is there already. Whoever makes it first, Sandbox::Stop or CleanUpSandbox removes it with all that is in
// it.
absl::Status MakeRuntimeDirectory(const std::string& sandbox_id);

}  // namespace kata::virtcontainers
