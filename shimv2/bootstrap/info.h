// SPDX-License-Identifier: Apache-2.0
// What `-v`, `-help` and `-info` print (docs/shim-contract.md section 4).
#pragma once

#include <string>

#include <absl/status/statusor.h>

namespace kata::shimv2 {

inline constexpr char kRuntimeName[] = "io.containerd.kata.v2";

std::string VersionText();
// For a person who has started it by hand: who does, and what to type instead.
std::string HelpText();
// A serialized containerd RuntimeInfo. `input`: what the caller wrote, an Any with runtime options or nothing; ours are
// given back in it. InvalidArgument when it is something else.
absl::StatusOr<std::string> RuntimeInfoBytes(const std::string& input);

}  // namespace kata::shimv2
