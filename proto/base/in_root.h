// SPDX-License-Identifier: Apache-2.0
// Paths inside a root file system whose content is not to be trusted: an image, a volume. A link in it leads where it
// would lead a process that has that root, never out of it. Blocking; any thread.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata {

// Components of one path that are made.
inline constexpr size_t kPathComponentsMax = 256;

// A descriptor of `path` inside `root_fd` (openat2, RESOLVE_IN_ROOT).
absl::StatusOr<UniqueFd> OpenInRoot(int root_fd, const std::string& path, int flags);
// An O_PATH descriptor of it; missing directories are made, and the last component as a directory or an empty file.
// What a link leads to is made as well, within the root.
absl::StatusOr<UniqueFd> MakeInRoot(int root_fd, const std::string& path, bool is_directory);

}  // namespace kata
