// SPDX-License-Identifier: Apache-2.0
// The page for a person: overview.html, which is in the program.
#pragma once

#include <string>

namespace kata::monitor {

std::string OverviewPage();

}  // namespace kata::monitor
