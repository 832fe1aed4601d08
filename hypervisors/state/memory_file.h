// SPDX-License-Identifier: Apache-2.0
// A machine's memory as a file: the pages that are not all zero, in runs, behind a table of where they belong.
// Blocking; the machine must not run meanwhile.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/status.h>

namespace kata::hypervisors {

// `memory` is a memfd of `size` bytes.
absl::Status SaveMemory(int memory, uint64_t size, const std::string& path);
// Into a memfd of which nothing was written yet. DataLoss when the file is damaged, FailedPrecondition when it is of a
// machine of another size; the memfd is of no use then.
absl::Status LoadMemory(const std::string& path, int memory, uint64_t size);

}  // namespace kata::hypervisors
