// SPDX-License-Identifier: Apache-2.0
#include "agent/refused_limits.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <nlohmann/json.hpp>

namespace kata::agent {
namespace {

using Json = nlohmann::json;

struct RefusedLimit {
  const char* pointer;
  bool is_hint = false;
  bool is_set_at_zero = false;
};

constexpr RefusedLimit kRefusedLimits[] = {
    {.pointer = "/cpu/realtimeRuntime"},
    {.pointer = "/cpu/realtimePeriod"},
    {.pointer = "/memory/kernel"},
    {.pointer = "/memory/kernelTCP"},
    {.pointer = "/memory/disableOOMKiller"},
    {.pointer = "/memory/swappiness", .is_hint = true, .is_set_at_zero = true},
    {.pointer = "/blockIO/leafWeight", .is_hint = true},
    {.pointer = "/network/classID"},
    {.pointer = "/network/priorities"},
    {.pointer = "/rdma"},
};

// Engines write 0, -1, false or an empty list for "not set".
bool IsSet(const Json& value, bool is_set_at_zero) {
  if (value.is_number())
    return value.get<double>() > 0 || (is_set_at_zero && value.get<double>() == 0);
  if (value.is_boolean()) return value.get<bool>();
  return value.is_structured() && !value.empty();
}

}  // namespace

absl::Status RefuseUnknownLimits(const Json& json, LimitsFor use) {
  for (const RefusedLimit& limit : kRefusedLimits) {
    if (limit.is_hint && use == LimitsFor::kCreate) continue;
    const Json::json_pointer pointer(limit.pointer);
    if (!json.contains(pointer) || !IsSet(json.at(pointer), limit.is_set_at_zero)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("linux.resources", absl::StrReplaceAll(limit.pointer, {{"/", "."}}),
                     ": a virtual machine has no such limit; leave it out"));
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
