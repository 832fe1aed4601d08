// SPDX-License-Identifier: Apache-2.0
// Runs a program for what it says.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::ctl {

inline constexpr size_t kOutputMax = 4u << 20;

// Standard output and error together, whatever the program's exit status; words[0] is its absolute path. At most
// `timeout`, then it is killed and what it said so far is the answer. Blocking.
absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& words, std::chrono::milliseconds timeout);

}  // namespace kata::ctl
