// SPDX-License-Identifier: Apache-2.0
// Asks the shims of this host about their pods, on the sockets that docs/management.md tells of.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "proto/base/coro.h"
#include "proto/http/client.h"

namespace kata::management {

inline constexpr size_t kAskedAtOnceMax = 64;
inline constexpr std::chrono::seconds kPatience{5};  // for one shim

// Of each sandbox its shim's answer, or: NotFound when it has no management socket, Unavailable when its shim has
// ended (and only then), else as http::Ask has it.
using Answers = std::map<std::string, absl::StatusOr<http::Answer>>;

// kAskedAtOnceMax at a time.
Co<Answers> AskShims(std::vector<std::string> sandboxes, http::Question question, std::chrono::nanoseconds timeout);

// The same, blocking.
Answers AskShimsNow(const std::vector<std::string>& sandboxes, const http::Question& question,
                    std::chrono::nanoseconds timeout = kPatience);
// Of one shim, blocking. An answer that is no success is an error with its text.
absl::StatusOr<std::string> AskShimNow(const std::string& sandbox, const http::Question& question,
                                       std::chrono::nanoseconds timeout = kPatience);

}  // namespace kata::management
