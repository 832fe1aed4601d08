// SPDX-License-Identifier: Apache-2.0
// The start of an exec in the guest, which may answer when nobody waits for it any more. Io thread
// only.
#pragma once

#include <memory>

#include "proto/schema/agent.ttrpc.h"

namespace kata::virtcontainers {

// OK once the process runs. DeadlineExceeded after kAgentCallTimeout; what the guest starts after
// that is killed and removed, since its caller was told that it does not run.
Co<absl::Status> StartInGuest(std::shared_ptr<ttrpc::Connection> connection, agent::v1::ExecRequest request);

}  // namespace kata::virtcontainers
