// SPDX-License-Identifier: Apache-2.0
// Mounts of a container, made by its child process before pivot_root. Every target is resolved
// inside the new root (openat2, RESOLVE_IN_ROOT), so that links in an image cannot lead a mount out
// of it.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "agent/spec.h"
#include "proto/base/fd.h"

namespace kata::agent {

// Links followed and components made while one target is resolved.
inline constexpr int kPathComponentsMax = 256;

// An O_PATH descriptor of `path` inside `root_fd`; missing directories are made, and the last
// component as a directory or an empty file.
absl::StatusOr<UniqueFd> MakeInRoot(int root_fd, const std::string& path, bool is_directory);
absl::StatusOr<UniqueFd> OpenInRoot(int root_fd, const std::string& path, int flags);

// Mounts one entry of the spec. A read-only tmpfs at /dev stays writable here: see FinishDevMount.
absl::Status MountInRoot(int root_fd, const Mount& mount);

// After pivot_root: a bind of `path` onto itself (or the existing mount) turned read-only; a
// missing path is fine.
absl::Status MakePathReadonly(const std::string& path);
// Hides a file behind /dev/null and a directory behind an empty read-only tmpfs; a missing path is
// fine.
absl::Status MaskPath(const std::string& path);

}  // namespace kata::agent
