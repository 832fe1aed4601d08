// SPDX-License-Identifier: Apache-2.0
// The shim daemon as seen by `delete`: BUNDLE/shim.pid names it by pid and start time, so that a reused pid is never
// taken for it. Blocking calls, for `start` and `delete`.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include <absl/status/status.h>

namespace kata::shimv2 {

absl::Status RecordShimProcess(const std::string& bundle, pid_t pid);
// Gives the recorded shim `grace` to end by itself, then kills it and waits for its end. OK when there is none.
absl::Status EndShimProcess(const std::string& bundle, std::chrono::milliseconds grace);

}  // namespace kata::shimv2
