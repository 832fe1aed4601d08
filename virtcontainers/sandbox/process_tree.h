// SPDX-License-Identifier: Apache-2.0
// Threads and descendants of a process, as /proc has them at this moment. Blocking; any thread.
#pragma once

#include <sys/types.h>

#include <vector>

namespace kata::virtcontainers {

// Empty for one that has ended.
std::vector<pid_t> ThreadsOf(pid_t pid);
// `pid` itself first, then those that it has started and they have: of a daemon that makes namespaces before it serves,
// so of few generations.
std::vector<pid_t> WithDescendants(pid_t pid);

}  // namespace kata::virtcontainers
