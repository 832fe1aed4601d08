// SPDX-License-Identifier: Apache-2.0
// The steps of a pod's start, and of each container's in it: lines of the log, and kept in a file of the pod, which
// tools/timeline reads as well. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <fmt/format.h>

namespace kata::timeline {

// Steps that are kept; the log has the later ones as well.
inline constexpr size_t kStepsMax = 256;

void Write(std::string_view step);

template <typename... Args>
void Step(fmt::format_string<Args...> format, Args&&... args) {
  Write(fmt::format(format, std::forward<Args>(args)...));
}

struct Taken {
  int64_t at_ns = 0;  // since 1970
  std::string step;
};
// Those that are kept, in the order of their times.
std::vector<Taken> Steps();

// From now on in `path`, a new file, and what there was before this call too. Of the first caller: a process has one
// pod.
absl::Status KeepIn(const std::string& path);

}  // namespace kata::timeline
