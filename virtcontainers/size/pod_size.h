// SPDX-License-Identifier: Apache-2.0
// How large a pod's machine is to be: what its containers may use, as far as their caller has said it before the first
// of them is made, and what the machine itself needs besides. Pure.
#pragma once

#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include "virtcontainers/config/config.h"

namespace kata::virtcontainers {

struct PodSize {
  uint64_t memory = 0;      // bytes; 0: no limit
  uint32_t processors = 0;  // 0: no limit
  // Containers without a limit of their own may be among them: the configuration's number of processors is the least
  // then, and its memory as soon as there is one.
  bool is_sum = false;
  uint64_t hugepages = 0;  // bytes, beside `memory`
};

// `spec` is the first container's document. A container by itself has limits; a pod's sandbox has what the kubelet
// says of them all (io.kubernetes.cri.sandbox-memory, -cpu-quota, -cpu-period).
PodSize ReadPodSize(const nlohmann::json& spec);

// What the kubelet says of a pod, in its words: bytes, and microseconds of a processor in each `period` (0: the
// kernel's). Not above 0: no limit.
PodSize PodSizeOf(int64_t memory, int64_t quota, int64_t period);

struct HostSize {
  uint64_t memory = 0;  // bytes
  uint32_t processors = 1;
};
HostSize ReadHostSize();

// The memory of a machine whose containers may use `usable` bytes, in MiB.
uint32_t MachineMemoryFor(uint64_t usable, const HostSize& host, const Config& config);
// What a machine with `mib` has with so many bytes of huge pages besides, in MiB; at most the host's.
uint32_t WithHugepages(uint64_t mib, uint64_t bytes, const HostSize& host);

// Sets default_memory and default_vcpus to what such a pod's machine gets; never more than the host has. What was set
// by an annotation (`is_memory_given`, `is_processors_given`) stays. default_maxmemory and default_maxvcpus become what
// it can grow to; processors that were given stay as they are, memory that was given does unless its maximum is
// set too.
void FitMachine(const PodSize& pod, const HostSize& host, bool is_memory_given, bool is_processors_given,
                Config& config);

}  // namespace kata::virtcontainers
