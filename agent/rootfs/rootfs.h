// SPDX-License-Identifier: Apache-2.0
// The file system view of a container, built by its child process in a mount namespace of its own.
// Two steps around pivot_root so that the terminal can be made in between. Single-threaded child
// only.
#pragma once

#include <absl/status/status.h>

#include "agent/oci/spec.h"

namespace kata::agent {

// Makes the mount tree private, binds the root, makes all mounts and devices, and pivots into it;
// cwd is "/".
absl::Status EnterRootfs(const ContainerSpec& spec);
// What must come last: sysctls, read-only and masked paths, propagation.
absl::Status SealRootfs(const ContainerSpec& spec);
// Binds the terminal's slave `path` onto /dev/console.
absl::Status BindConsole(const std::string& path);

}  // namespace kata::agent
