// SPDX-License-Identifier: Apache-2.0
// Makes a container in the guest, for a caller that waits for a while only. Io thread only.
#pragma once

#include <chrono>
#include <memory>

#include "proto/schema/agent.ttrpc.h"

namespace kata::virtcontainers {

// DeadlineExceeded after `timeout`. What the guest makes later is removed there again: nobody would ever know it.
Co<absl::Status> CreateInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::CreateContainerRequest request,
                               std::chrono::nanoseconds timeout);

}  // namespace kata::virtcontainers
