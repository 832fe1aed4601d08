// SPDX-License-Identifier: Apache-2.0
// Where the host's connections come from: the virtio-serial port org.kata.agent or a vsock port.
// One connection is served at a time, and a new one starts as soon as the last has ended. Io thread
// only.
#pragma once

#include <cstdint>
#include <string>

#include "agent/service.h"
#include "proto/base/coro.h"

namespace kata::agent {

inline constexpr char kPortName[] = "org.kata.agent";

// Device path of the virtio port with that name, which may take a moment to appear.
absl::StatusOr<std::string> FindVirtioPort(const std::string& sys_class, const std::string& name);
// Both end with an error only.
Co<absl::Status> ServeVirtioPort(Service* service);
// `ready_port` != 0: connects to that port of the host once it listens.
Co<absl::Status> ServeVsock(Service* service, uint32_t port, uint32_t ready_port);

}  // namespace kata::agent
