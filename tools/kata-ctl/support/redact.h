// SPDX-License-Identifier: Apache-2.0
// Takes out of a text what looks like a secret, before it leaves the host. Pure.
#pragma once

#include <string>
#include <string_view>

namespace kata::ctl {

// The value behind a word that tells of a secret ("password=…", "token": "…", "Authorization: Bearer …") becomes
// "[redacted]". What it does not know by such a word it cannot see.
std::string Redacted(std::string_view text);

}  // namespace kata::ctl
