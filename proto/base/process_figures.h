// SPDX-License-Identifier: Apache-2.0
// What the host's kernel says of one process. Blocking: reads of procfs. Any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace kata {

struct ProcessFigures {
  double user_seconds = 0;
  double system_seconds = 0;
  uint64_t anonymous_bytes = 0;  // resident, as the next two
  uint64_t file_bytes = 0;
  uint64_t shared_bytes = 0;
  uint64_t threads = 0;
  uint64_t open_files = 0;
};

// Nothing when there is no such process.
std::optional<ProcessFigures> ReadProcessFigures(pid_t pid);

}  // namespace kata
