// SPDX-License-Identifier: Apache-2.0
// Which unix sockets of the host a pod may be given: the operator's patterns of paths. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>

namespace kata::virtcontainers {

struct SocketRules {
  std::vector<std::string> patterns;  // each as CheckSocketPattern has it
  std::string file;                   // that has them, for an error
};

// An absolute path without empty parts, "." and "..", that may have `*` for any number of bytes of one part, not for a
// dot that a part begins with. InvalidArgument otherwise, also for what patterns have elsewhere (? [ \).
absl::Status CheckSocketPattern(const std::string& pattern);
// Whether the whole of `path`, in which no part is a link, is as one of the patterns.
bool IsListed(const SocketRules& rules, const std::string& path);

}  // namespace kata::virtcontainers
