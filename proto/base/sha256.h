// SPDX-License-Identifier: Apache-2.0
// SHA-256 in lower-case hex: names made of any text, and what is known of a secret in public. Pure.
#pragma once

#include <string>

#include <absl/strings/string_view.h>

namespace kata {

std::string Sha256Hex(absl::string_view data);

}  // namespace kata
