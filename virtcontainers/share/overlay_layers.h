// SPDX-License-Identifier: Apache-2.0
// Overlay mounts of many layers. The kernel takes a mount's options in one page, which the paths of some forty layers
// fill; the kernels here (6.1) know no other way to name them.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

struct OverlayLayers {
  std::vector<UniqueFd> descriptors;  // none: the paths were short enough
};

// Where the words of an overlay mount would not fit, replaces the layers of "lowerdir" by the numbers of descriptors of
// them, which are names in /proc/self/fd. Blocking.
absl::StatusOr<OverlayLayers> ShortenLayers(std::vector<std::string>& words);

}  // namespace kata::virtcontainers
