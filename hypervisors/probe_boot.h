// SPDX-License-Identifier: Apache-2.0
// Whether a host can run a stock guest under an accelerator: only booting one tells. A host may have /dev/kvm, answer
// its calls and run small guests, and yet never let a whole kernel start. Blocking, any thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include <absl/status/status.h>

namespace kata::hypervisors {

inline constexpr std::chrono::seconds kProbeTimeout{10};
// A boot that failed is tried again after this; one that went well counts until the host boots.
inline constexpr std::chrono::minutes kProbeAgainAfter{10};

struct ProbeMachine {
  std::string accelerator;   // QEMU's name: kvm, tcg
  std::string emulator;
  std::string machine_type;
  std::string firmware;      // empty = QEMU's default
  std::string kernel;
  std::string initrd;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Boots the machine without a network, disks or the like until its kernel runs the first program, then kills it.
absl::Status ProbeBoot(const ProbeMachine& machine, std::chrono::milliseconds timeout);

// The same, with the verdict kept in a file of `cache_dir` for this boot of the host, this emulator, kernel and
// initramfs. One process probes, others wait for it. An empty `cache_dir` keeps nothing.
absl::Status ProbeBootOnce(const ProbeMachine& machine, const std::string& cache_dir,
                           std::chrono::milliseconds timeout);

}  // namespace kata::hypervisors
