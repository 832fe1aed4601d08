// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/pod_mounts.h"

#include <utility>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "virtcontainers/json/members.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

bool HasOwnIpc(const Json& spec) {
  auto linux = spec.find("linux");
  if (linux == spec.end() || !linux->is_object()) return false;
  auto namespaces = linux->find("namespaces");
  if (namespaces == linux->end() || !namespaces->is_array()) return false;
  for (const Json& entry : *namespaces) {
    if (TextOf(entry, "type") == "ipc") return TextOf(entry, "path").empty();
  }
  return false;
}

bool HasMountAt(const Json& mounts, const std::string& destination) {
  for (const Json& mount : mounts) {
    if (TextOf(mount, "destination") == destination) return true;
  }
  return false;
}

}  // namespace

std::shared_ptr<const OciDocument> WithPodMounts(const OciDocument& document, const std::string& etc_directory) {
  Json spec = document.json();
  Json mounts = spec.value("mounts", Json::array());
  if (!mounts.is_array()) return OciDocument::Of(std::move(spec));  // whoever reads it says so
  if (!HasOwnIpc(spec)) {
    for (Json& mount : mounts) {
      if (TextOf(mount, "destination") != kSharedMemory || TextOf(mount, "type") != "tmpfs") continue;
      mount = {{"destination", kSharedMemory},
               {"type", "bind"},
               {"source", kSharedMemory},
               {"options", {"rbind", "rprivate", "rw", "nosuid", "noexec", "nodev"}}};
    }
  }
  const bool is_read_only = spec["root"].value("readonly", Json(false)) == Json(true);
  for (const char* name : kPodFiles) {
    const std::string destination = absl::StrCat("/etc/", name);
    if (etc_directory.empty() || HasMountAt(mounts, destination)) continue;
    mounts.push_back({{"destination", destination},
                      {"type", "bind"},
                      {"source", absl::StrCat(etc_directory, "/", name)},
                      {"options", {"rbind", "rprivate", is_read_only ? "ro" : "rw"}}});
  }
  spec["mounts"] = std::move(mounts);
  return OciDocument::Of(std::move(spec));
}

}  // namespace kata::virtcontainers
