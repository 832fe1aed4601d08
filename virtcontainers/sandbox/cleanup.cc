// SPDX-License-Identifier: Apache-2.0
// CleanUpSandbox: what a killed shim has left, found by the sandbox's id alone.
#include <algorithm>
#include <chrono>

#include "hypervisors/hypervisor.h"
#include "proto/base/status.h"
#include "virtcontainers/container/host_hooks.h"
#include "virtcontainers/network/endpoints.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox.h"
#include "virtcontainers/sandbox/kept_logs.h"
#include "virtcontainers/sandbox/sandbox_cgroup.h"
#include "virtcontainers/share/shared_directory.h"
#include "virtcontainers/share/virtiofsd.h"

namespace kata::virtcontainers {
namespace {

constexpr std::chrono::milliseconds kShortestWait{100};

}  // namespace

absl::Status CleanUpSandbox(const std::string& sandbox_id, std::chrono::milliseconds timeout) {
  if (!IsValidSandboxId(sandbox_id)) {
    return absl::InvalidArgumentError(absl::StrCat("cleaning up: \"", sandbox_id, "\" is no sandbox id"));
  }
  const std::string runtime_dir = RuntimeDirectory(sandbox_id);
  const auto until = std::chrono::steady_clock::now() + timeout;
  // Each step whatever came of the one before: nobody may come to try again.
  absl::Status status = hypervisors::CleanUpMachine(sandbox_id, runtime_dir, timeout);
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  // Without time left it is still killed, and not waited for.
  status.Update(CleanUpVirtiofsd(absl::StrCat(runtime_dir, "/virtiofsd.pid"), std::max(left, kShortestWait)));
  // Its mounts were in a namespace that has gone with those two.
  status.Update(RemoveSharedDirectory(sandbox_id));
  status.Update(RemoveEndpoints(sandbox_id, EndpointsRecord(sandbox_id)));
  const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  RunRecordedHooks(HooksDirectory(sandbox_id), rest);
  status.Update(RemoveSandboxCgroup(sandbox_id));
  // It says where the rest is.
  KeepLogs(sandbox_id);
  if (status.ok()) status = RemoveTree(runtime_dir);
  return status;
}

}  // namespace kata::virtcontainers
