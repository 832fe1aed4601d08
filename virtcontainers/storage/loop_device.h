// SPDX-License-Identifier: Apache-2.0
// Loop devices for image files. Blocking; pool threads.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

struct LoopOptions {
  bool is_read_only = false;
  bool is_direct = false;  // past the host's page cache
};

// Gives the file `image` a free loop device, whose path is put into `device`. The device is let go with the last user:
// the returned descriptor and what is mounted from it.
absl::StatusOr<UniqueFd> AttachLoopDevice(const std::string& image, const LoopOptions& options, std::string& device);

}  // namespace kata::virtcontainers
