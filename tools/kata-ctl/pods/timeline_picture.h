// SPDX-License-Identifier: Apache-2.0
// The steps of a pod's start as a picture: a bar for each, from the step before to its own time. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kata::ctl {

struct TimelineStep {
  std::string step;
  int64_t at_ns = 0;  // since 1970
};

// An SVG document. `steps`: in the order of their times.
std::string TimelinePicture(const std::vector<TimelineStep>& steps);

}  // namespace kata::ctl
