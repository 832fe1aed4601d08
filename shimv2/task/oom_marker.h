// SPDX-License-Identifier: Apache-2.0
// BUNDLE/oom, by which CRI-O learns that a container ran out of memory (docs/shim-contract.md section 12).
#pragma once

#include <string>

#include <absl/status/status.h>

namespace kata::shimv2 {

// One open in a tmpfs, so short that the io thread may do it. Idempotent; follows no symbolic link.
absl::Status MarkOutOfMemory(const std::string& bundle);

}  // namespace kata::shimv2
