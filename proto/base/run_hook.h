// SPDX-License-Identifier: Apache-2.0
// Runs one hook of a container to its end. Blocking; any thread that lives as long as the hook.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "proto/base/hook.h"

namespace kata {

// Of what a hook says, as much stands in the error: its last words.
inline constexpr size_t kHookOutputMax = 4096;

struct HookPlace {
  std::string directory;  // where it runs: the bundle
  int netns = -1;         // the network namespace that it runs in; -1: ours
};
// OK when it ends with status 0 within its time limit; else it is killed with its process group. The error has its
// name and what it has said.
absl::Status RunHook(const Hook& hook, const std::string& state, const HookPlace& place);

}  // namespace kata
