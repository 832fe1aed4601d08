// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroup/reserve.h"

#include <algorithm>

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

constexpr uint64_t kMiB = 1u << 20;
constexpr size_t kFileSizeMax = 1u << 16;

// For the agent with some thousand processes to look after, and for what the kernel takes and does
// not charge to anyone.
constexpr uint64_t kMemoryReserveMin = 16 * kMiB;
constexpr uint64_t kMemoryReserveMax = 64 * kMiB;
// What one container leaves to others: enough for a pod's pause process and small side-cars.
constexpr uint64_t kMemoryShareMin = 8 * kMiB;
constexpr uint64_t kMemoryShareMax = 32 * kMiB;
constexpr uint64_t kProcessReserveMin = 64;
constexpr uint64_t kProcessReserveMax = 512;
constexpr uint64_t kMinFreeMin = 4 * kMiB;
constexpr uint64_t kMinFreeMax = 16 * kMiB;

uint64_t ReadNumber(const std::string& path) {
  auto text = ReadFile(path, kFileSizeMax);
  uint64_t value = 0;
  if (!text.ok() || !absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &value)) return 0;
  return value;
}

uint64_t Part(uint64_t whole, uint64_t low, uint64_t high) { return std::clamp(whole / 16, low, high); }

// A machine too small for a reserve keeps the half.
uint64_t Without(uint64_t whole, uint64_t reserve) {
  return whole == 0 ? 0 : std::max(whole / 2, whole - std::min(whole, reserve));
}

}  // namespace

GuestCapacity ReadGuestCapacity() {
  GuestCapacity out;
  auto meminfo = ReadFile("/proc/meminfo", kFileSizeMax);
  if (meminfo.ok()) {
    for (absl::string_view line : absl::StrSplit(*meminfo, '\n')) {
      std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
      uint64_t kib = 0;
      if (words.size() < 2 || !absl::SimpleAtoi(words[1], &kib)) continue;
      if (words[0] == "MemTotal:") out.memory_total = kib * 1024;
      if (words[0] == "MemAvailable:") out.memory_available = kib * 1024;
    }
  }
  out.processes = std::min(ReadNumber("/proc/sys/kernel/threads-max"), ReadNumber("/proc/sys/kernel/pid_max"));
  return out;
}

Bounds BoundsOfAll(const GuestCapacity& capacity) {
  return Bounds{
      .memory = Without(capacity.memory_available, Part(capacity.memory_total, kMemoryReserveMin, kMemoryReserveMax)),
      .processes = Without(capacity.processes, Part(capacity.processes, kProcessReserveMin, kProcessReserveMax))};
}

Bounds BoundsOfOne(const Bounds& all) {
  return Bounds{.memory = Without(all.memory, Part(all.memory, kMemoryShareMin, kMemoryShareMax)),
                .processes = Without(all.processes, Part(all.processes, kProcessReserveMin, kProcessReserveMax))};
}

Bounds ReadBounds(const std::string& cgroup) {
  return Bounds{.memory = ReadNumber(absl::StrCat(cgroup, "/memory.max")),
                .processes = ReadNumber(absl::StrCat(cgroup, "/pids.max"))};
}

absl::Status WriteBounds(const std::string& cgroup, const Bounds& bounds) {
  if (bounds.memory != 0) {
    RETURN_IF_ERROR(WriteExisting(absl::StrCat(cgroup, "/memory.max"), absl::StrCat(bounds.memory)));
  }
  if (bounds.processes == 0) return absl::OkStatus();
  return WriteExisting(absl::StrCat(cgroup, "/pids.max"), absl::StrCat(bounds.processes));
}

absl::Status MoveBounds(const std::string& cgroup, Bounds bounds) {
  if (bounds.memory != 0) bounds.memory = std::max(bounds.memory, ReadNumber(absl::StrCat(cgroup, "/memory.current")));
  return WriteBounds(cgroup, bounds);
}

absl::Status ProtectInit() {
  const uint64_t wanted = std::clamp(ReadGuestCapacity().memory_total / 64, kMinFreeMin, kMinFreeMax) / 1024;
  const std::string path = "/proc/sys/vm/min_free_kbytes";
  if (ReadNumber(path) < wanted) RETURN_IF_ERROR(WriteExisting(path, absl::StrCat(wanted)));
  return WriteExisting("/proc/self/oom_score_adj", "-1000");
}

}  // namespace kata::agent
