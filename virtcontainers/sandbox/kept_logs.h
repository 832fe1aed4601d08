// SPDX-License-Identifier: Apache-2.0
// What the log of a pod said, for those who ask when it is over: kept beside the pods that live, in the host's memory,
// of the last kEndedMax pods (docs/management.md). Blocking.
#pragma once

#include <string>
#include <string_view>

namespace kata::virtcontainers {

inline constexpr size_t kEndedMax = 64;

// Writes the console's last lines where KeepLogs finds them. What goes wrong costs the lines.
void WriteConsole(const std::string& sandbox_id, std::string_view console);
// Moves the log, the time line and the console out of the sandbox's directory, before that is removed, and forgets the
// pods that ended longest ago. What goes wrong is logged: a pod can always be removed. Idempotent.
void KeepLogs(const std::string& sandbox_id);

}  // namespace kata::virtcontainers
