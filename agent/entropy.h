// SPDX-License-Identifier: Apache-2.0
// The guest's random numbers after its memory was copied: a clone and its template know the same keys until then.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace kata::agent {

inline constexpr size_t kEntropySizeMin = 32;
inline constexpr size_t kEntropySizeMax = 256;

// Stirs `entropy` into the kernel's pool, counts it, and has the kernel make its keys anew.
absl::Status StirEntropy(const std::string& entropy);

}  // namespace kata::agent
