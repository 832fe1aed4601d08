// SPDX-License-Identifier: Apache-2.0
// The vhost-device-vsock of one sandbox, for hosts whose kernel has no vhost vsock: a child of the shim that ends with
// it. It runs as QEMU's user. Blocking calls; pool threads that live as long as the process.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

#include "proto/base/child_process.h"
#include "proto/base/fd.h"

namespace kata::virtcontainers {

// Names of its sockets in its directory.
inline constexpr char kVsockMachineSocket[] = "machine";  // vhost-user
inline constexpr char kVsockHostSocket[] = "host";

struct VsockDaemonOptions {
  std::string program;
  std::string directory;  // made here, owned by uid
  uid_t uid = 0;          // QEMU's
  gid_t gid = 0;
  uint32_t ready_port = 0;
};

struct VsockDaemon {
  ChildProcess process;
  UniqueFd output;  // what it writes comes here; whoever starts it reads it to its end
  UniqueFd ready;   // listens for what the guest connects to on the host's ready_port
};

// Returns once its sockets are there.
absl::StatusOr<VsockDaemon> StartVsockDaemon(const VsockDaemonOptions& options);
absl::Status StopVsockDaemon(VsockDaemon& daemon, std::chrono::milliseconds timeout);

}  // namespace kata::virtcontainers
