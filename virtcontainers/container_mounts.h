// SPDX-License-Identifier: Apache-2.0
// The host's part of one container: its rootfs and volumes in the share, its spec as the guest gets
// it. Blocking; pool threads. A rootfs mounted here is noted below the runtime directory, so that
// `delete` finds it again.
#pragma once

#include <string>

#include "virtcontainers/sandbox.h"

namespace kata::virtcontainers {

struct ContainerMounts {
  std::string sandbox_id;
  ContainerOptions options;
  std::string guest_spec;   // filled by Prepare
  std::string rootfs;       // on the host
  bool is_mounted = false;  // by us, from the Create list
};

absl::Status PrepareContainer(ContainerMounts& mounts);
// Undoes also a half-made one. Idempotent.
absl::Status UndoContainer(const ContainerMounts& mounts);
// Unmounts every rootfs that a killed shim has noted.
absl::Status UnmountNotedRootfs(const std::string& sandbox_id);

}  // namespace kata::virtcontainers
