// SPDX-License-Identifier: Apache-2.0
// Reads a container's cgroup (version 2) and the sandbox's interfaces into the messages of a
// statistics answer. What the kernel does not offer stays zero. Io thread only: short reads.
#pragma once

#include <cstdint>
#include <string>

#include <absl/strings/string_view.h>

namespace io::containerd::cgroups::v2 {
class Metrics;
}
namespace kata::agent::v1 {
class StatsContainerResponse;
}

namespace kata::agent {

// Block devices and network interfaces of one answer; the host takes no more.
inline constexpr int kStatsDisksMax = 256;
inline constexpr int kStatsInterfacesMax = 64;

// The number after `key` in a file of "key number" lines; 0 when either is missing.
uint64_t ReadCounter(const std::string& path, absl::string_view key);

void ReadMetrics(const std::string& cgroup, io::containerd::cgroups::v2::Metrics& out);
// `text` is that of /proc/net/dev. The loopback interface is left out.
void ParseInterfaces(absl::string_view text, v1::StatsContainerResponse& out);

}  // namespace kata::agent
