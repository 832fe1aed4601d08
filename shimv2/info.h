// SPDX-License-Identifier: Apache-2.0
// What `-v` and `-info` print (shim-contract section 4).
#pragma once

#include <string>

namespace kata::shimv2 {

inline constexpr char kRuntimeName[] = "io.containerd.kata.v2";
inline constexpr char kVersion[] = "0.1.0";

std::string VersionText();
// A serialized containerd RuntimeInfo.
std::string RuntimeInfoBytes();

}  // namespace kata::shimv2
