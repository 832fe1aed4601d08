// SPDX-License-Identifier: Apache-2.0
// A pseudo terminal of the container's own devpts instance, made by the child so that its name is
// right inside.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::agent {

struct Terminal {
  UniqueFd master;
  UniqueFd slave;
  std::string slave_path;
};

// Opens /dev/pts/ptmx after checking that it is a real devpts multiplexer.
absl::StatusOr<Terminal> OpenTerminal(unsigned width, unsigned height);
absl::Status SetTerminalSize(int master, unsigned width, unsigned height);

}  // namespace kata::agent
