// SPDX-License-Identifier: Apache-2.0
// Statistics as a guest sends them, before anybody else sees them.
#pragma once

#include <absl/status/status.h>

namespace kata::agent::v1 {
class StatsContainerResponse;
}

namespace kata::virtcontainers {

inline constexpr int kStatsInterfacesMax = 64;
inline constexpr int kDisksMax = 256;
inline constexpr int kHugePageSizesMax = 16;

// ResourceExhausted for more interfaces, disks or sizes of huge pages than these, or for longer names than Linux has.
// Replaces in names what cannot be shown.
absl::Status CleanGuestStats(agent::v1::StatsContainerResponse& stats);

}  // namespace kata::virtcontainers
