// SPDX-License-Identifier: Apache-2.0
// A machine of an installation without a sandbox around it, for programs that talk to the agent themselves.
#pragma once

#include <functional>
#include <string>

#include "hypervisors/hypervisor.h"
#include "proto/base/coro.h"
#include "proto/base/status.h"
#include "virtcontainers/agent_client/channel.h"

namespace kata::test {

// What the installation below `prefix` starts its machines with, without a share; everything of the machine is put into
// `directory`, which exists, and `directory`-cache.
absl::StatusOr<hypervisors::VmSpec> MachineSpec(const std::string& prefix, const std::string& directory,
                                                const virtcontainers::BootToken& token);

// Makes a directory below /run for `run`, runs it to its end on an io thread, removes the directory. Prints the error.
// Exit code for main.
int RunWithDirectory(const char* name, std::function<Co<absl::Status>(std::string directory)> run);

}  // namespace kata::test
