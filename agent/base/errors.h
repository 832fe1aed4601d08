// SPDX-License-Identifier: Apache-2.0
// The agent's rule for failed system calls: Internal to the host, whatever the errno, with its
// text. Any thread.
#pragma once

#include <absl/strings/string_view.h>

#include "proto/base/status.h"

namespace kata::agent {

inline absl::Status SystemError(int error, absl::string_view what) {
  return absl::InternalError(ErrnoStatus(error, what).message());
}

}  // namespace kata::agent
