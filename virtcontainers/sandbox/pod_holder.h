// SPDX-License-Identifier: Apache-2.0
// The process in the guest that holds the namespaces of a pod for which no container of the caller does: it is process
// 1 of shared pids, and reaps there; a user namespace can belong to nobody but a process. Other pods have the guest's
// own, and no such process. Io thread only.
#pragma once

#include <memory>

#include "proto/base/coro.h"
#include "proto/schema/agent.ttrpc.h"
#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

// No caller's container is called so: it begins with no letter or digit.
inline constexpr char kPodHolderId[] = "_pod";

bool NeedsHolder(const PodSettings& pod);
// As a caller would ask for the pod's sandbox container; it brings the pod's sysctls. Pure.
agent::v1::CreateContainerRequest MakeHolderRequest(const SandboxOptions& options);
// Before any container.
Co<absl::Status> StartHolder(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request);
// When it has ended: all that shared its pids has, too. An error if that cannot be known.
Co<absl::Status> WaitHolder(std::shared_ptr<ttrpc::Connection> connection);

}  // namespace kata::virtcontainers
