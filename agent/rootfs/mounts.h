// SPDX-License-Identifier: Apache-2.0
// Mounts of a container, made by its child process before pivot_root. Every target is resolved
// inside the new root (openat2, RESOLVE_IN_ROOT), so that links in an image cannot lead a mount out
// of it.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "agent/oci/spec.h"

namespace kata::agent {

// Mounts one entry of the spec. A read-only tmpfs at /dev stays writable here: see FinishDevMount.
absl::Status MountInRoot(int root_fd, const Mount& mount);

// After pivot_root: a bind of `path` onto itself (or the existing mount) turned read-only; a
// missing path is fine.
absl::Status MakePathReadonly(const std::string& path);
// Hides a file behind /dev/null and a directory behind an empty read-only tmpfs; a missing path is
// fine.
absl::Status MaskPath(const std::string& path);

}  // namespace kata::agent
