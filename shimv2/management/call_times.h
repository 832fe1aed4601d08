// SPDX-License-Identifier: Apache-2.0
// How long the calls of the pod's callers took, by method, for /metrics. Adding one costs a look-up and no memory, once
// its method is known. Io thread only.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include <absl/status/status.h>

namespace kata::shimv2 {

// Upper bounds of the ranges.
inline constexpr std::array<double, 8> kCallBounds = {0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60};  // seconds

struct Histogram {
  std::array<uint64_t, kCallBounds.size() + 1> counts{};  // of each range; the last is open
  double sum = 0;                                         // seconds

  void Add(double seconds);
};

struct MethodTimes {
  Histogram took;
  std::map<absl::StatusCode, uint64_t> errors;
};

class CallTimes {
 public:
  void Add(const std::string& method, std::chrono::nanoseconds took, absl::StatusCode code);
  const std::map<std::string, MethodTimes>& methods() const { return methods_; }

 private:
  std::map<std::string, MethodTimes> methods_;
};

}  // namespace kata::shimv2
