// SPDX-License-Identifier: Apache-2.0
// Calls that make something in the guest, for a caller that waits for a while only: DeadlineExceeded then, and what the
// guest makes later is removed there again, since nobody would ever know it. Io thread only.
#pragma once

#include <chrono>
#include <memory>

#include "proto/schema/agent.ttrpc.h"

namespace kata::virtcontainers {

Co<absl::Status> CreateInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request,
                               std::chrono::nanoseconds timeout);
Co<absl::Status> ExecInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::ExecRequest request,
                             std::chrono::nanoseconds timeout);

}  // namespace kata::virtcontainers
