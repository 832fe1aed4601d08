// SPDX-License-Identifier: Apache-2.0
// A directory of the share, or layers of an image, whose changes go to a file system of the guest alone. Blocking, as a
// mount is.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "proto/schema/agent.pb.h"

namespace kata::agent {

// Where the disk itself is mounted, beside the two together.
std::string ScratchDiskPoint(const v1::Storage& storage);
// `disk`: the device file, or what a file system without one is mounted from. On failure nothing stays.
absl::Status MountScratch(const v1::Storage& storage, const std::string& disk);

}  // namespace kata::agent
