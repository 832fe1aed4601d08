// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/sandbox_facts.h"

#include <absl/strings/str_join.h>

namespace kata::virtcontainers {

std::map<std::string, std::string> Describe(const SandboxFacts& facts) {
  std::map<std::string, std::string> out;
  out["hypervisor"] = "qemu";
  out["configuration"] = facts.config->file;
  out["emulator"] = facts.config->path;
  out["kernel"] = facts.config->kernel;
  out["initrd"] = facts.config->initrd;
  out["vcpus"] = std::to_string(facts.size.vcpus);
  out["memory_mib"] = std::to_string(facts.size.memory_mib);
  out["shared_fs"] = facts.config->shared_fs == SharedFs::k9p ? "virtio-9p" : "virtio-fs";
  if (facts.machine_pid > 0) {
    out["machine_pid"] = std::to_string(facts.machine_pid);
    out["started_by"] = facts.is_clone ? "template" : "boot";
  }
  if (facts.virtiofsd_pid > 0) out["virtiofsd_pid"] = std::to_string(facts.virtiofsd_pid);
  if (facts.accelerator != hypervisors::Accelerator::kAuto)
    out["accelerator"] = facts.accelerator == hypervisors::Accelerator::kKvm ? "kvm" : "tcg";
  if (!facts.guest_kernel.empty()) out["guest_kernel"] = facts.guest_kernel;
  if (!facts.features.empty()) out["agent_features"] = absl::StrJoin(facts.features, ",");
  return out;
}

}  // namespace kata::virtcontainers
