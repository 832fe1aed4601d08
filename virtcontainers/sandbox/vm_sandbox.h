// SPDX-License-Identifier: Apache-2.0
// The one Sandbox of this library: a machine, its share and the guest in it. Sandbox::Make gives it libvirt's machine;
// tests put another one in.
#pragma once

#include <memory>

#include "hypervisors/hypervisor.h"
#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

std::shared_ptr<Sandbox> MakeVmSandbox(asio::any_io_executor executor, asio::thread_pool& pool, SandboxOptions options,
                                       std::shared_ptr<hypervisors::Hypervisor> hypervisor);

}  // namespace kata::virtcontainers
