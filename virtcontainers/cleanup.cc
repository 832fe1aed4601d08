// SPDX-License-Identifier: Apache-2.0
// CleanUpSandbox: what a killed shim has left, found by the sandbox's id alone.
#include "hypervisors/hypervisor.h"
#include "proto/base/status.h"
#include "virtcontainers/container_mounts.h"
#include "virtcontainers/ids.h"
#include "virtcontainers/sandbox.h"
#include "virtcontainers/shared_directory.h"
#include "virtcontainers/virtiofsd.h"

namespace kata::virtcontainers {

absl::Status CleanUpSandbox(const std::string& sandbox_id, std::chrono::milliseconds timeout) {
  if (!IsValidSandboxId(sandbox_id)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cleaning up: \"", sandbox_id, "\" is no sandbox id"));
  }
  const std::string runtime_dir = RuntimeDirectory(sandbox_id);
  RETURN_IF_ERROR(hypervisors::CleanUpMachine(sandbox_id, runtime_dir, timeout));
  RETURN_IF_ERROR(CleanUpVirtiofsd(absl::StrCat(runtime_dir, "/virtiofsd.pid"), timeout));
  RETURN_IF_ERROR(RemoveSharedDirectory(sandbox_id));
  RETURN_IF_ERROR(UnmountNotedRootfs(sandbox_id));
  return RemoveTree(runtime_dir);
}

}  // namespace kata::virtcontainers
