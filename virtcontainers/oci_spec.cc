// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci_spec.h"

#include <algorithm>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

std::string Text(const Json& object, const char* key) {
  auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

std::vector<std::string> Texts(const Json& object, const char* key) {
  std::vector<std::string> out;
  auto at = object.find(key);
  if (at == object.end() || !at->is_array()) return out;
  for (const Json& entry : *at) {
    if (entry.is_string()) out.push_back(entry.get<std::string>());
  }
  return out;
}

bool Has(const std::vector<std::string>& list, const char* word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool IsGuestOwn(const std::string& source) {
  for (const char* top : {"/dev", "/proc", "/sys"}) {
    if (source == top || absl::StartsWith(source, absl::StrCat(top, "/"))) return true;
  }
  return false;
}

absl::Status EditMounts(Json& spec, const std::string& guest_dir,
                        std::vector<SharedMount>& shared) {
  auto mounts = spec.find("mounts");
  if (mounts == spec.end()) return absl::OkStatus();
  if (!mounts->is_array()) return absl::InvalidArgumentError("\"mounts\" is not a list");
  for (Json& mount : *mounts) {
    if (!mount.is_object())
      return absl::InvalidArgumentError("an entry of \"mounts\" is not an object");
    const std::vector<std::string> options = Texts(mount, "options");
    const bool is_bind =
        Text(mount, "type") == "bind" || Has(options, "bind") || Has(options, "rbind");
    const std::string source = Text(mount, "source");
    if (!is_bind || IsGuestOwn(source)) continue;
    if (!absl::StartsWith(source, "/")) {
      return absl::InvalidArgumentError(absl::StrCat("bind mount at \"", Text(mount, "destination"),
                                                     "\": source \"", source,
                                                     "\" is not an absolute path"));
    }
    SharedMount entry;
    entry.source = source;
    entry.share_name = absl::StrCat("mounts/", shared.size());
    entry.is_read_only = Has(options, "ro");
    mount["source"] = absl::StrCat(guest_dir, "/", entry.share_name);
    shared.push_back(std::move(entry));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GuestSpec> MakeGuestSpec(const std::string& config_json,
                                        const std::string& guest_dir, bool terminal) {
  Json spec = Json::parse(config_json, nullptr, /*allow_exceptions=*/false);
  if (spec.is_discarded() || !spec.is_object())
    return absl::InvalidArgumentError("it is not a JSON object");
  if (!spec["root"].is_object() || !spec["process"].is_object()) {
    return absl::InvalidArgumentError(
        "it is not an OCI runtime spec: \"process\" and \"root\" objects are needed");
  }
  GuestSpec out;
  out.rootfs_path = Text(spec["root"], "path");
  spec["root"]["path"] = absl::StrCat(guest_dir, "/rootfs");
  spec["process"]["terminal"] = terminal;
  spec.erase("hooks");
  if (absl::Status status = EditMounts(spec, guest_dir, out.shared_mounts); !status.ok())
    return status;
  if (auto linux = spec.find("linux"); linux != spec.end() && linux->is_object()) {
    if (auto namespaces = linux->find("namespaces");
        namespaces != linux->end() && namespaces->is_array()) {
      for (Json& entry : *namespaces) {
        if (entry.is_object() && Text(entry, "type") == "network") entry.erase("path");
      }
    }
  }
  out.json = spec.dump(-1, ' ', false, Json::error_handler_t::replace);
  return out;
}

absl::StatusOr<std::string> MakeGuestProcess(const std::string& process_json, bool terminal) {
  Json process = Json::parse(process_json, nullptr, /*allow_exceptions=*/false);
  if (process.is_discarded() || !process.is_object()) {
    return absl::InvalidArgumentError("reading an exec's process: it is not a JSON object");
  }
  process["terminal"] = terminal;
  return process.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace kata::virtcontainers
