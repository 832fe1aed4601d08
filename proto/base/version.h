// SPDX-License-Identifier: Apache-2.0
// What a program was built from.
#pragma once

#include <string>

namespace kata {

extern const char kBuildVersion[];  // of the project, "0.1.0"
// Its first 12 digits, with "-dirty" behind them when files that git knows were changed; "unknown" outside a
// repository.
extern const char kBuildCommit[];

// "0.1.0, commit 0123456789ab"
std::string BuildText();

}  // namespace kata
