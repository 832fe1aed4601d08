// SPDX-License-Identifier: Apache-2.0
// Layers of an image, each mounted by itself, as an overlay wants them named. Blocking.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::agent {

inline constexpr size_t kLayersMax = 64;  // of one overlay

// Whether `filesystems`, as /proc/filesystems has them, are enough for it; the kernel of a guest may be an operator's.
bool HasLayerTypes(const std::string& filesystems);
// Of this kernel.
bool CanPutLayersTogether();

// In their order.
absl::StatusOr<std::vector<UniqueFd>> OpenLayers(const std::vector<std::string>& layers);
// For "lowerdir=": a mount's words must fit a page, which the paths of some forty layers fill. Good while `open` is.
std::string WordsOfLayers(const std::vector<UniqueFd>& open);

}  // namespace kata::agent
