// SPDX-License-Identifier: Apache-2.0
// What kata-monitor serves: /metrics for Prometheus, / for a person, /pods for that page. Nothing of it
// changes anything. Each request asks the shims anew. Io thread only.
#pragma once

#include <chrono>
#include <memory>

#include "proto/http/server.h"

namespace kata::monitor {

// For one shim: those that answer do not wait for one that does not.
inline constexpr std::chrono::seconds kShimPatience{4};
// Requests that are being answered at once; a further one is told to come again.
inline constexpr int kRequestsMax = 4;

std::shared_ptr<const http::Routes> MakeRoutes();

}  // namespace kata::monitor
