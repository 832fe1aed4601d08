// SPDX-License-Identifier: Apache-2.0
// The shim's long life: composes event loop, Task and Sandbox services, events and signals (docs/shim-contract.md
// section 3).
#pragma once

#include <string>

#include "proto/base/fd.h"
#include "proto/schema/wire.pb.h"
#include "shimv2/bootstrap/arguments.h"

namespace kata::shimv2 {

// Serves on `socket` until the last container is gone and Shutdown was called, the sandbox was shut down, or SIGTERM
// came. Returns the exit code.
// `options`: what the caller gave with `start`.
int RunDaemon(const Arguments& arguments, const std::string& bundle, const std::string& sandbox_id,
              const std::string& socket_path, UniqueFd socket, wire::Any options);

}  // namespace kata::shimv2
