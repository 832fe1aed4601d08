// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/size/container_limits.h"

#include <string>

#include <absl/strings/numbers.h>
#include <nlohmann/json.hpp>

#include "virtcontainers/json/members.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kPeriodDefault = 100'000;  // us, the kernel's
constexpr uint64_t kMilli = 1000;
constexpr int64_t kNoLimit = int64_t{1} << 60;

}  // namespace

uint64_t LimitOf(int64_t value) { return value > 0 && value < kNoLimit ? static_cast<uint64_t>(value) : 0; }

uint64_t LimitOf(const Json& value) {
  if (value.is_number_integer()) return LimitOf(value.get<int64_t>());
  int64_t number = 0;
  return value.is_string() && absl::SimpleAtoi(value.get<std::string>(), &number) ? LimitOf(number) : 0;
}

ContainerLimits ReadContainerLimits(const Json& resources) { return UpdatedLimits(ContainerLimits(), resources); }

ContainerLimits UpdatedLimits(const ContainerLimits& before, const Json& resources) {
  ContainerLimits after = before;
  const Json& memory = MemberOf(MemberOf(resources, "memory"), "limit");
  const Json& cpu = MemberOf(resources, "cpu");
  const Json& quota = MemberOf(cpu, "quota");
  const Json& period = MemberOf(cpu, "period");
  // In an update, 0 is a number that was left out.
  if (!memory.is_null() && memory != 0) after.memory = LimitOf(memory);
  if (!quota.is_null() && quota != 0) after.quota = LimitOf(quota);
  if (!period.is_null() && period != 0) after.period = LimitOf(period);
  const Json& hugepages = MemberOf(resources, "hugepageLimits");
  if (hugepages.is_array() && !hugepages.empty()) {
    after.hugepages = 0;
    for (const Json& item : hugepages) after.hugepages += LimitOf(MemberOf(item, "limit"));
  }
  return after;
}

uint64_t MilliProcessors(const ContainerLimits& limits) {
  const uint64_t period = limits.period == 0 ? kPeriodDefault : limits.period;
  return (limits.quota * kMilli + period - 1) / period;
}

}  // namespace kata::virtcontainers
