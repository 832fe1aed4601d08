// SPDX-License-Identifier: Apache-2.0
// Limits of the OCI spec that a guest cannot set: its kernel has cgroups of version 2, and neither
// RDMA nor net_cls.
#pragma once

#include <absl/status/status.h>
#include <nlohmann/json_fwd.hpp>

namespace kata::agent {

enum class LimitsFor { kCreate, kUpdate };

// `json` is an object, the spec's linux.resources. InvalidArgument that names the first such limit.
// Hints that bound nothing (swappiness, leafWeight) are errors in an update only: a container runs
// as well without them.
absl::Status RefuseUnknownLimits(const nlohmann::json& json, LimitsFor use);

}  // namespace kata::agent
