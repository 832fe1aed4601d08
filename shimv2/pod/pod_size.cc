// SPDX-License-Identifier: Apache-2.0
#include "shimv2/pod/pod_size.h"

#include <sched.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <string>

#include <absl/strings/numbers.h>
#include <nlohmann/json.hpp>

namespace kata::shimv2 {
namespace {

using Json = nlohmann::json;

constexpr char kSandboxMemory[] = "io.kubernetes.cri.sandbox-memory";
constexpr char kSandboxQuota[] = "io.kubernetes.cri.sandbox-cpu-quota";
constexpr char kSandboxPeriod[] = "io.kubernetes.cri.sandbox-cpu-period";
constexpr uint64_t kPeriodDefault = 100'000;  // us, the kernel's
constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kMemoryAlignment = 2 * kMiB;
// The kernel's description of a page, 64 bytes for each 4 KiB.
constexpr uint64_t kPageSharePart = 64;
// Engines write "no limit" as a number near the largest.
constexpr int64_t kNoLimit = int64_t{1} << 60;
constexpr uint32_t kProcessorsMax = 64;

const Json& Member(const Json& object, const char* key) {
  static const Json kNothing;
  if (!object.is_object()) return kNothing;
  auto at = object.find(key);
  return at != object.end() ? *at : kNothing;
}

// 0 for what is no limit.
uint64_t Limit(int64_t value) { return value > 0 && value < kNoLimit ? static_cast<uint64_t>(value) : 0; }

uint64_t Number(const Json& value) {
  if (value.is_number_integer()) return Limit(value.get<int64_t>());
  int64_t number = 0;
  return value.is_string() && absl::SimpleAtoi(value.get<std::string>(), &number) ? Limit(number) : 0;
}

uint32_t Processors(uint64_t quota, uint64_t period) {
  if (quota == 0) return 0;
  if (period == 0) period = kPeriodDefault;
  return static_cast<uint32_t>(std::min<uint64_t>((quota + period - 1) / period, kProcessorsMax));
}

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

}  // namespace

PodSize PodSizeOf(int64_t memory, int64_t quota, int64_t period) {
  PodSize size;
  size.is_sum = true;
  size.memory = Limit(memory);
  size.processors = Processors(Limit(quota), Limit(period));
  return size;
}

PodSize ReadPodSize(const Json& spec) {
  PodSize size;
  const Json& annotations = Member(spec, "annotations");
  const Json& memory = Member(annotations, kSandboxMemory);
  const Json& quota = Member(annotations, kSandboxQuota);
  if (!memory.is_null() || !quota.is_null()) {
    size.is_sum = true;
    size.memory = Number(memory);
    size.processors = Processors(Number(quota), Number(Member(annotations, kSandboxPeriod)));
    return size;
  }
  const Json& resources = Member(Member(spec, "linux"), "resources");
  const Json& cpu = Member(resources, "cpu");
  size.memory = Number(Member(Member(resources, "memory"), "limit"));
  size.processors = Processors(Number(Member(cpu, "quota")), Number(Member(cpu, "period")));
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

void FitMachine(const PodSize& pod, const HostSize& host, bool is_memory_given, bool is_processors_given,
                virtcontainers::Config& config) {
  if (pod.memory != 0 && !is_memory_given) {
    const uint64_t usable = host.memory == 0 ? pod.memory : std::min(pod.memory, host.memory);
    const uint64_t all = usable + usable / kPageSharePart + config.overhead_memory * kMiB;
    const auto needed = static_cast<uint32_t>(RoundUp(all, kMemoryAlignment) / kMiB);
    config.default_memory = pod.is_sum ? std::max(config.default_memory, needed) : needed;
  }
  if (pod.processors != 0 && !is_processors_given) {
    const uint32_t usable = std::max(1u, std::min(pod.processors, host.processors));
    config.default_vcpus = pod.is_sum ? std::max(config.default_vcpus, usable) : usable;
  }
}

}  // namespace kata::shimv2
