// SPDX-License-Identifier: Apache-2.0
// What a daemon of a sandbox writes, in the shim's log: bounded, since the guest can have it write. Io thread only.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "proto/base/coro.h"
#include "proto/base/fd.h"

namespace kata::virtcontainers {

inline constexpr size_t kDaemonLineMax = 512;  // bytes; the rest of a line is dropped
inline constexpr int kDaemonLinesAtOnce = 50;
inline constexpr std::chrono::seconds kDaemonLinePause{10};  // until one more may come

// Cuts output into lines of printable characters and decides which are let through.
class DaemonLines {
 public:
  using Clock = std::chrono::steady_clock;
  // The lines that `data` completes, as far as they are let through; the first after dropped ones says how many.
  std::vector<std::string> Add(std::string_view data, Clock::time_point now);

 private:
  std::string line_;
  int budget_ = kDaemonLinesAtOnce;
  int dropped_ = 0;
  Clock::time_point counted_{};
};

// Reads `output`, a pipe, to its end.
Co<absl::Status> LogDaemon(std::string name, UniqueFd output);

}  // namespace kata::virtcontainers
