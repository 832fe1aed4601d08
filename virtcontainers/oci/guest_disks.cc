// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/guest_disks.h"

#include <optional>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "virtcontainers/json/members.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

std::optional<uint32_t> Number(const Json& object, const char* key) {
  const Json& value = MemberOf(object, key);
  if (!value.is_number_unsigned() || value.get<uint64_t>() > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(value.get<uint64_t>());
}

// What the rules that name the device itself come to; nothing without any, or when the last one takes it away.
std::optional<std::string> AccessOf(const Json& rules, const DiskNode& node) {
  std::optional<std::string> access;
  if (!rules.is_array()) return access;
  for (const Json& rule : rules) {
    if (TextOf(rule, "type") != "b" || Number(rule, "major") != node.major || Number(rule, "minor") != node.minor)
      continue;
    const Json& allow = MemberOf(rule, "allow");
    if (allow.is_boolean() && allow.get<bool>()) {
      access = absl::StrCat(access.value_or(""), TextOf(rule, "access"));
    } else {
      access.reset();
    }
  }
  return access;
}

}  // namespace

std::vector<DiskWish> DisksOf(const OciDocument& document) {
  const Json& linux_part = MemberOf(document.json(), "linux");
  const Json& rules = MemberOf(MemberOf(linux_part, "resources"), "devices");
  std::vector<DiskWish> out;
  const Json& devices = MemberOf(linux_part, "devices");
  if (!devices.is_array()) return out;
  for (const Json& device : devices) {
    const std::optional<uint32_t> major = Number(device, "major");
    const std::optional<uint32_t> minor = Number(device, "minor");
    if (TextOf(device, "type") != "b" || !major.has_value() || !minor.has_value()) continue;
    DiskWish wish;
    wish.node = {.path = TextOf(device, "path"), .major = *major, .minor = *minor};
    const std::optional<std::string> access = AccessOf(rules, wish.node);
    if (!access.has_value()) continue;
    wish.is_read_only = !absl::StrContains(*access, 'w');
    out.push_back(std::move(wish));
  }
  return out;
}

std::string WithRootfsAt(const std::string& spec_json, const std::string& path) {
  Json spec = Json::parse(spec_json, nullptr, /*allow_exceptions=*/false);
  spec["root"]["path"] = path;
  return spec.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace kata::virtcontainers
