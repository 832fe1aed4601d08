// SPDX-License-Identifier: Apache-2.0
// What the agent is asked for when a sandbox or a container is made. Pure; the clock is added by guest_clock.
#pragma once

#include <cstdint>

#include "proto/schema/agent.pb.h"
#include "virtcontainers/container/container_mounts.h"
#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

// `share_files_max`: how many files of the share the guest may know at a time; 0 = no limit.
agent::v1::CreateSandboxRequest MakeSandboxRequest(const SandboxOptions& options, uint64_t share_files_max);
// `mounts`: prepared.
agent::v1::CreateContainerRequest MakeContainerRequest(const ContainerMounts& mounts);

}  // namespace kata::virtcontainers
