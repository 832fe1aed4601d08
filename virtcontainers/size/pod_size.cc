// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/size/pod_size.h"

#include <sched.h>
#include <sys/sysinfo.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "virtcontainers/json/members.h"
#include "virtcontainers/size/container_limits.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

constexpr char kSandboxMemory[] = "io.kubernetes.cri.sandbox-memory";
constexpr char kSandboxQuota[] = "io.kubernetes.cri.sandbox-cpu-quota";
constexpr char kSandboxPeriod[] = "io.kubernetes.cri.sandbox-cpu-period";
constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kMemoryAlignment = 2 * kMiB;
// The kernel's description of a page, 64 bytes for each 4 KiB.
constexpr uint64_t kPageSharePart = 64;
constexpr uint32_t kProcessorsMax = 64;

uint32_t Processors(const ContainerLimits& limits) {
  const uint64_t whole = (MilliProcessors(limits) + 999) / 1000;
  return static_cast<uint32_t>(std::min<uint64_t>(whole, kProcessorsMax));
}

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

}  // namespace

PodSize PodSizeOf(int64_t memory, int64_t quota, int64_t period) {
  PodSize size;
  size.is_sum = true;
  size.memory = LimitOf(memory);
  size.processors = Processors({.quota = LimitOf(quota), .period = LimitOf(period)});
  return size;
}

PodSize ReadPodSize(const Json& spec) {
  PodSize size;
  const Json& annotations = MemberOf(spec, "annotations");
  const Json& memory = MemberOf(annotations, kSandboxMemory);
  const Json& quota = MemberOf(annotations, kSandboxQuota);
  ContainerLimits limits;
  if (!memory.is_null() || !quota.is_null()) {
    size.is_sum = true;
    limits.memory = LimitOf(memory);
    limits.quota = LimitOf(quota);
    limits.period = LimitOf(MemberOf(annotations, kSandboxPeriod));
  } else {
    limits = ReadContainerLimits(MemberOf(MemberOf(spec, "linux"), "resources"));
  }
  size.memory = limits.memory;
  size.hugepages = limits.hugepages;
  size.processors = Processors(limits);
  return size;
}

HostSize ReadHostSize() {
  HostSize size;
  struct sysinfo info {};
  if (::sysinfo(&info) == 0) size.memory = uint64_t{info.totalram} * info.mem_unit;
  cpu_set_t mine;
  if (::sched_getaffinity(0, sizeof(mine), &mine) == 0) size.processors = static_cast<uint32_t>(CPU_COUNT(&mine));
  return size;
}

uint32_t MachineMemoryFor(uint64_t usable, const HostSize& host, const Config& config) {
  if (host.memory != 0) usable = std::min(usable, host.memory);
  const uint64_t all = usable + usable / kPageSharePart + config.overhead_memory * kMiB;
  return static_cast<uint32_t>(RoundUp(all, kMemoryAlignment) / kMiB);
}

uint32_t WithHugepages(uint64_t mib, uint64_t bytes, const HostSize& host) {
  if (bytes == 0) return static_cast<uint32_t>(mib);
  if (host.memory != 0) bytes = std::min(bytes, host.memory);
  const uint64_t all = mib + RoundUp(bytes, kMemoryAlignment) / kMiB;
  return static_cast<uint32_t>(host.memory == 0 ? all : std::max(mib, std::min(all, host.memory / kMiB)));
}

void FitMachine(const PodSize& pod, const HostSize& host, bool is_memory_given, bool is_processors_given,
                Config& config) {
  config.memory_without_limit = config.default_memory;
  if (pod.memory != 0 && !is_memory_given) config.default_memory = MachineMemoryFor(pod.memory, host, config);
  if (!is_memory_given) config.default_memory = WithHugepages(config.default_memory, pod.hugepages, host);
  if (pod.processors != 0 && !is_processors_given) {
    const uint32_t usable = std::max(1u, std::min(pod.processors, host.processors));
    config.default_vcpus = pod.is_sum ? std::max(config.default_vcpus, usable) : usable;
  }
  if (config.default_maxmemory == 0) {
    config.default_maxmemory = is_memory_given ? config.default_memory : static_cast<uint32_t>(host.memory / kMiB);
  }
  const uint32_t all = std::min(host.processors, kProcessorsMax);
  const uint32_t room = config.default_maxvcpus == 0 ? all : std::min(config.default_maxvcpus, all);
  config.default_maxvcpus = is_processors_given ? config.default_vcpus : std::max(room, config.default_vcpus);
}

}  // namespace kata::virtcontainers
