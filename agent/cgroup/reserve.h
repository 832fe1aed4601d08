// SPDX-License-Identifier: Apache-2.0
// What the containers must leave: all of them together to PID 1 and the kernel, each of them to its
// neighbours. A container that takes too much of memory or of processes meets a bound of its own,
// below that of all, so that the kernel ends its processes and refuses its forks and nobody else's.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>

namespace kata::agent {

struct Bounds {
  uint64_t memory = 0;     // bytes; 0: none
  uint64_t processes = 0;  // 0: none
};

struct GuestCapacity {
  uint64_t memory_total = 0;
  uint64_t memory_available = 0;  // before there are containers
  uint64_t processes = 0;         // that the kernel makes at most
};

GuestCapacity ReadGuestCapacity();
Bounds BoundsOfAll(const GuestCapacity& capacity);
Bounds BoundsOfOne(const Bounds& all);

// Those of a cgroup; none where it has no such file or no limit.
Bounds ReadBounds(const std::string& cgroup);
absl::Status WriteBounds(const std::string& cgroup, const Bounds& bounds);

// The same for a cgroup in use: not below what it has, since the kernel would kill for it.
absl::Status MoveBounds(const std::string& cgroup, Bounds bounds);

// Keeps more memory free for what cannot wait than the kernel does by itself, and PID 1 from being
// chosen when memory is short all the same. Called once.
absl::Status ProtectInit();

}  // namespace kata::agent
