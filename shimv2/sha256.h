// SPDX-License-Identifier: Apache-2.0
// Names made of any text: its SHA-256 in hex. Pure.
#pragma once

#include <string>

namespace kata::shimv2 {

std::string Sha256Hex(const std::string& text);

}  // namespace kata::shimv2
