// SPDX-License-Identifier: Apache-2.0
// The machine of a sandbox as its configuration wants it, before the share is added.
#pragma once

#include "hypervisors/hypervisor.h"
#include "virtcontainers/agent_client/channel.h"
#include "virtcontainers/agent_client/vsock_daemon.h"
#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

// Gives the machine a user of its own: unprivileged, and of this process alone.
void UseOwnUser(hypervisors::VmSpec& spec);

hypervisors::VmSpec MakeMachineSpec(const SandboxOptions& options, const BootToken& token);

// Decides on the agent's channel, starts what it needs, and adds its device to `spec`. Blocking; pool threads.
absl::Status PrepareChannel(const Config& config, hypervisors::VmSpec& spec, VsockDaemon& daemon);

}  // namespace kata::virtcontainers
