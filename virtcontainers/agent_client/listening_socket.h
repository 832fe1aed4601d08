// SPDX-License-Identifier: Apache-2.0
// Sockets of the processes that serve a sandbox. Any thread.
#pragma once

#include <sys/types.h>

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::virtcontainers {

// A unix socket that listens at `path`, for `uid` alone (mode 0600). What is there is replaced. The
// path may be longer than the 107 bytes of a socket's address; its last part may not. Its directory
// must not be another user's who runs already.
absl::StatusOr<UniqueFd> ListenFor(const std::string& path, uid_t uid, gid_t gid);

}  // namespace kata::virtcontainers
