// SPDX-License-Identifier: Apache-2.0
// What a pod may say of its machine: nothing that the operator has not listed.
#include <algorithm>
#include <set>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/strip.h>

#include "proto/base/status.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/config/kata_keys.h"
#include "virtcontainers/config/keys.h"
#include "virtcontainers/config/nearest.h"
#include "virtcontainers/sockets/socket_rules.h"

namespace kata::virtcontainers {
namespace {

constexpr char kHypervisor[] = "hypervisor.";
// Names of Kata's annotations, without kAnnotationPrefix, and the table whose keys they follow.
constexpr struct {
  const char* prefix;
  const char* table;
} kTables[] = {{kHypervisor, "hypervisor.qemu."}, {"runtime.", "runtime."}, {"agent.", "agent.kata."}};

const ConfigKey* KeyOf(const std::string& name) {
  for (const ConfigKey& key : ConfigKeys()) {
    if (!key.annotation.empty() && absl::StrCat(kAnnotationPrefix, key.annotation) == name) return &key;
  }
  return nullptr;
}

std::string NearestName(const std::string& name) {
  std::set<std::string> known;
  for (const ConfigKey& key : ConfigKeys()) {
    if (!key.annotation.empty()) known.insert(absl::StrCat(kAnnotationPrefix, key.annotation));
  }
  return Nearest(known, name);
}

// Why no pod can set what has this full name; empty: there is nothing of the name.
std::string WhyNotByPod(const std::string& full_name) {
  if (const ConfigKey* key = FindKey(full_name); key != nullptr && FullName(*key) == full_name) {
    return absl::StrCat("the operator alone says it, by ", key->name, " in [", key->table, "]");
  }
  if (const AbsentKey* key = FindAbsentKey(full_name); key != nullptr && FullName(*key) == full_name) return key->text;
  return "";
}

// Of a name that no key has as its annotation.
std::string WhyNot(const std::string& name) {
  absl::string_view rest = name;
  if (absl::ConsumePrefix(&rest, kAnnotationFamily)) {
    for (const AbsentAnnotation& one : AbsentAnnotations()) {
      if (one.name == rest) return one.key.empty() ? one.text : WhyNotByPod(one.key);
    }
    if (absl::ConsumePrefix(&rest, "config.")) {
      for (const auto& one : kTables) {
        absl::string_view key = rest;
        if (!absl::ConsumePrefix(&key, one.prefix)) continue;
        const std::string why = WhyNotByPod(absl::StrCat(one.table, key));
        if (!why.empty()) return why;
      }
    }
  }
  return absl::StrCat("there is no such annotation; did you mean \"", NearestName(name), "\"?");
}

bool IsEnabled(const std::vector<std::string>& enabled, const std::string& name) {
  return std::any_of(enabled.begin(), enabled.end(), [&name](const std::string& entry) {
    return entry == name || absl::StrCat(kAnnotationPrefix, kHypervisor, entry) == name;
  });
}

std::string NameOfList(std::vector<std::string> Config::*member) {
  for (const ConfigKey& key : ConfigKeys()) {
    const auto* list = std::get_if<ListKey>(&key.kind);
    if (list != nullptr && list->member == member) return key.name;
  }
  return "";
}

absl::Status CheckAllowed(const ConfigKey& key, const Config& config, const std::string& value) {
  const auto* text = std::get_if<TextKey>(&key.kind);
  if (text == nullptr || text->allowed == nullptr) return absl::OkStatus();
  if (IsListed(SocketRules{config.*text->allowed, config.file}, value)) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("path \"", value, "\" is not allowed; an operator can add it to \"",
                                                  NameOfList(text->allowed), "\" of configuration \"", config.file,
                                                  "\""));
}

absl::Status Apply(const std::string& name, const std::string& value, const Config& by, Config& config,
                   ConfigOrigins* origins) {
  const std::string what = absl::StrCat("annotation \"", name, "\"");
  const ConfigKey* key = KeyOf(name);
  if (key == nullptr) return absl::InvalidArgumentError(absl::StrCat(what, ": ", WhyNot(name)));
  if (!IsEnabled(by.enable_annotations, name)) {
    return absl::PermissionDeniedError(absl::StrCat(
        what, ": not enabled; an operator can add it to \"enable_annotations\" of configuration \"", by.file, "\""));
  }
  if (absl::Status status = CheckAllowed(*key, by, value); !status.ok()) return Annotate(status, what);
  if (absl::Status status = SetFromText(*key, config, value); !status.ok()) return Annotate(status, what);
  if (origins != nullptr) origins->keys[FullName(*key)] = absl::StrCat("annotation ", name);
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyAnnotations(Config& config, const std::map<std::string, std::string>& annotations,
                              ConfigOrigins* origins) {
  const Config by = config;
  std::vector<std::string> errors;
  absl::StatusCode code = absl::StatusCode::kOk;
  for (const auto& [name, value] : annotations) {
    if (!absl::StartsWith(name, kAnnotationFamily)) continue;
    const absl::Status status = Apply(name, value, by, config, origins);
    if (status.ok()) continue;
    if (code == absl::StatusCode::kOk) code = status.code();
    if (errors.size() < kErrorsNamed) errors.emplace_back(status.message());
  }
  return absl::Status(code, absl::StrJoin(errors, "; "));
}

absl::Status CheckAnnotationName(const std::string& entry) {
  if (KeyOf(entry) != nullptr || KeyOf(absl::StrCat(kAnnotationPrefix, kHypervisor, entry)) != nullptr)
    return absl::OkStatus();
  const std::string name =
      absl::StartsWith(entry, kAnnotationFamily) ? entry : absl::StrCat(kAnnotationPrefix, kHypervisor, entry);
  return absl::InvalidArgumentError(absl::StrCat("\"", entry, "\" cannot be enabled: ", WhyNot(name)));
}

}  // namespace kata::virtcontainers
