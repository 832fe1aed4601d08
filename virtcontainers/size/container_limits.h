// SPDX-License-Identifier: Apache-2.0
// What one container may use of its pod's machine, as the OCI resources of its document, or of an update, say it. Pure.
#pragma once

#include <cstdint>

#include <nlohmann/json_fwd.hpp>

namespace kata::virtcontainers {

struct ContainerLimits {
  uint64_t memory = 0;     // bytes; 0: no limit
  uint64_t quota = 0;      // us of a processor in each period; 0: no limit
  uint64_t period = 0;     // us; 0: the kernel's
  uint64_t hugepages = 0;  // bytes, of all sizes of pages together; beside `memory`
  bool operator==(const ContainerLimits&) const = default;
};

// `resources` is what there is at linux.resources; anything else than an object has no limits.
ContainerLimits ReadContainerLimits(const nlohmann::json& resources);
// What an update leaves out stays.
ContainerLimits UpdatedLimits(const ContainerLimits& before, const nlohmann::json& resources);

// In thousandths of a processor; 0: no limit.
uint64_t MilliProcessors(const ContainerLimits& limits);

// 0 for what is no limit: nothing above 0, or a number near the largest, as engines write it.
uint64_t LimitOf(int64_t value);
// The same of a number, or of a text that is one.
uint64_t LimitOf(const nlohmann::json& value);

}  // namespace kata::virtcontainers
