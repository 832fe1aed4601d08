// SPDX-License-Identifier: Apache-2.0
// Sandbox::Make with the machine given by the caller: the seam that tests put a fake one into.
#pragma once

#include <memory>

#include "hypervisors/hypervisor.h"
#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

std::shared_ptr<Sandbox> MakeSandboxOn(asio::any_io_executor executor, asio::thread_pool& pool,
                                       SandboxOptions options,
                                       std::shared_ptr<hypervisors::Hypervisor> hypervisor);

}  // namespace kata::virtcontainers
