// SPDX-License-Identifier: Apache-2.0
// Which processes of a sandbox are in which cgroup of the host: all in the pod's, or, without sandbox_cgroup_only, the
// machine's processors in the pod's and the rest in one for overhead. Blocking; any thread, one call at a time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "virtcontainers/cgroup/pod_cgroup.h"

namespace kata::virtcontainers {

struct SandboxCgroupOptions {
  std::string sandbox_id;
  std::string path;     // the pod's, linux.cgroupsPath, of either form; empty: "/<sandbox id>"
  bool is_only = true;  // sandbox_cgroup_only
  bool moves_shim =
      true;  // false: the caller wants the shim where it is; a scope of systemd begins with it all the same
  std::string root = kCgroupRoot;
};

// Whether the host's cgroups can do what sandbox_cgroup_only says.
absl::Status CheckCgroupsFor(bool is_only, const std::string& root = kCgroupRoot);

// On the host beside the guest's memory: of QEMU, virtiofsd and the shim.
inline constexpr uint64_t kHostMemoryMib = 96;

class SandboxCgroup {
 public:
  explicit SandboxCgroup(SandboxCgroupOptions options) : options_(std::move(options)) {}

  // Before any process of the sandbox runs: they begin where the shim is. The runtime directory is there.
  absl::Status Enter();
  // Once they run: the machine's process, and the daemons with their children.
  absl::Status Take(pid_t machine, const std::vector<pid_t>& daemons);
  // When the machine has got further processors.
  absl::Status TakeProcessors(pid_t machine);
  // One line for the log when the pod's memory limit is less than a machine of `machine_mib` may come to need; empty.
  std::string WarningOfLimit(uint32_t machine_mib) const;
  // Whether a machine of whose memory `bytes` are used at once fits beside its daemons.
  bool HasRoomFor(uint64_t bytes) const;
  // One line for the log when the host's kernel has ended a process in it for want of memory; else empty.
  std::string ReasonOfEnd() const;
  // Once they have ended. Idempotent.
  absl::Status Leave();

 private:
  SandboxCgroupOptions options_;
  std::string scope_;  // the unit; empty: systemd knows nothing of it
  std::shared_ptr<PodCgroup> pod_;
  std::shared_ptr<PodCgroup> overhead_;  // null: is_only
};

// For the shim's `delete` action: what a killed shim has left.
absl::Status RemoveSandboxCgroup(const std::string& sandbox_id);

}  // namespace kata::virtcontainers
