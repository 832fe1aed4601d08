// SPDX-License-Identifier: Apache-2.0
// Whom the host's kernel ends first for want of memory. The machine is what the pod's containers are worth there: the
// least of them decides, since they end together.
#pragma once

#include <sys/types.h>

#include <vector>

#include <absl/status/status.h>

namespace kata::virtcontainers {

// Raises /proc/PID/oom_score_adj of each, and of its descendants, to `score` (-1000..1000, process.oomScoreAdj); never
// lowers one. Blocking.
absl::Status RaiseOomScore(const std::vector<pid_t>& pids, int score);

}  // namespace kata::virtcontainers
