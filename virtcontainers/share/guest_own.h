// SPDX-License-Identifier: Apache-2.0
// Which sources of bind mounts mean the guest's own and not the host's: all below /proc and /sys, and below /dev what
// stands for a kernel: device nodes, and directories of such. A file or a directory that is merely kept there
// (/dev/shm) is the host's, as any other. Blocking; pool threads.
#pragma once

#include <string>

namespace kata::virtcontainers {

bool IsGuestOwn(const std::string& source);

}  // namespace kata::virtcontainers
