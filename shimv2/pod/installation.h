// SPDX-License-Identifier: Apache-2.0
// Where this program is installed: every other file is found relative to its binary, so any prefix works.
#pragma once

#include <string>

namespace kata::shimv2 {

// <prefix> of <prefix>/bin/containerd-shim-kata-v2, symbolic links resolved.
std::string InstallationPrefix();

}  // namespace kata::shimv2
