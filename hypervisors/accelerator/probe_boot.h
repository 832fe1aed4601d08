// SPDX-License-Identifier: Apache-2.0
// Whether a host can run a stock guest under an accelerator: only booting one tells. A host may have /dev/kvm, answer
// its calls and run small guests, and yet never let a whole kernel start. Blocking, any thread.
#pragma once

#include <chrono>
#include <string>

#include <absl/status/status.h>

#include "hypervisors/hypervisor.h"

namespace kata::hypervisors {

inline constexpr std::chrono::seconds kProbeTimeout{10};
// A boot that failed is tried again after this; one that went well counts until the host boots.
inline constexpr std::chrono::minutes kProbeAgainAfter{10};

// Boots the spec's emulator, kernel and initramfs as the spec's user, without a network, disks or the like, under
// `accelerator` (QEMU's name: kvm, tcg) until the kernel runs the first program, then kills it.
absl::Status ProbeBoot(const VmSpec& spec, const std::string& accelerator, std::chrono::milliseconds timeout);

// The same, with the verdict kept in a file of `cache_dir` for this boot of the host, this emulator, kernel and
// initramfs. One process probes, others wait for it. An empty `cache_dir` keeps nothing.
absl::Status ProbeBootOnce(const VmSpec& spec, const std::string& accelerator, const std::string& cache_dir,
                           std::chrono::milliseconds timeout);

}  // namespace kata::hypervisors
