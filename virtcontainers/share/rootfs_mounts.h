// SPDX-License-Identifier: Apache-2.0
// The list of mounts that a caller's Create gives for a root file system, by the rules of containerd's own mount code:
// in order, targets below the root, "loop" for images, any number of overlay layers. What needs a program on the host
// (fuse.*, fuse3.*) or belongs to containerd's mount manager is refused by name. Blocking; pool threads.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"
#include "virtcontainers/container.h"

namespace kata::virtcontainers {

// A detached mount of what the list makes. It is made in a copy of the host's namespace that is gone afterwards, at
// `place`, an empty directory.
absl::StatusOr<UniqueFd> MakeRootfs(const std::vector<RootfsMount>& mounts, const std::string& place);

}  // namespace kata::virtcontainers
