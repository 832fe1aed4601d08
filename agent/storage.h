// SPDX-License-Identifier: Apache-2.0
// Mounts what the host asks for: the share, a memory volume. Io thread only.
#pragma once

#include <absl/status/status.h>

#include "proto/schema/agent.pb.h"

namespace kata::agent {

// The mount point is made when missing.
absl::Status MountStorage(const v1::Storage& storage);

}  // namespace kata::agent
