// SPDX-License-Identifier: Apache-2.0
// The name that somebody has most likely meant. Pure.
#pragma once

#include <set>
#include <string>

namespace kata::virtcontainers {

// Of `known` the one with the fewest letters to change; empty when there is none.
std::string Nearest(const std::set<std::string>& known, const std::string& name);

}  // namespace kata::virtcontainers
