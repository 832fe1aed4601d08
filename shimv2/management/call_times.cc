// SPDX-License-Identifier: Apache-2.0
#include "shimv2/management/call_times.h"

#include <algorithm>

namespace kata::shimv2 {

void Histogram::Add(double seconds) {
  const auto range = std::lower_bound(kCallBounds.begin(), kCallBounds.end(), seconds);
  ++counts[static_cast<size_t>(range - kCallBounds.begin())];
  sum += seconds;
}

void CallTimes::Add(const std::string& method, std::chrono::nanoseconds took, absl::StatusCode code) {
  MethodTimes& times = methods_[method];
  times.took.Add(std::chrono::duration<double>(took).count());
  if (code != absl::StatusCode::kOk) ++times.errors[code];
}

}  // namespace kata::shimv2
