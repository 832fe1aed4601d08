// SPDX-License-Identifier: Apache-2.0
// What makes a clone's guest its own, before anything else is asked of it. Io thread.
#pragma once

#include <memory>

#include "proto/base/coro.h"
#include "proto/ttrpc/connection.h"

namespace kata::virtcontainers {

// Of the agent: it answers in a clone, finds its devices and takes its token from where the host put it anew.
inline constexpr char kCloneFeature[] = "clone";

// Fresh randomness for the guest's kernel, which all clones of one machine would draw the same of, and the devices that
// came with the clone. The clock is set with the sandbox.
Co<absl::Status> Rekey(std::shared_ptr<ttrpc::Connection> connection);

}  // namespace kata::virtcontainers
