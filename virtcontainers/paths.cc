// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/paths.h"

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

namespace kata::virtcontainers {

namespace {

bool IsValid(const std::string& id, size_t size_max) {
  if (id.empty() || id.size() > size_max) return false;
  if (!absl::ascii_isalnum(static_cast<unsigned char>(id[0]))) return false;
  for (char c : id) {
    const bool is_mark = c == '.' || c == '_' || c == '-';
    if (!is_mark && !absl::ascii_isalnum(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

}  // namespace

bool IsValidId(const std::string& id) { return IsValid(id, kIdSizeMax); }

bool IsValidSandboxId(const std::string& id) {
  return IsValid(id, kSandboxIdSizeMax) && id != "shared" && id != "ended" && id != "direct-volumes";
}

std::string RuntimeDirectory(const std::string& sandbox_id) {
  return absl::StrCat("/run/kata-containers/", sandbox_id);
}
std::string EndedDirectory(const std::string& sandbox_id) {
  return absl::StrCat("/run/kata-containers/ended/", sandbox_id);
}
std::string EndpointsRecord(const std::string& sandbox_id) {
  return absl::StrCat(RuntimeDirectory(sandbox_id), "/network");
}
std::string TimelineFile(const std::string& sandbox_id) {
  return absl::StrCat(RuntimeDirectory(sandbox_id), "/timeline");
}
std::string HooksDirectory(const std::string& sandbox_id) {
  return absl::StrCat(RuntimeDirectory(sandbox_id), "/hooks");
}
std::string SharedDirectory(const std::string& sandbox_id) {
  return absl::StrCat("/run/kata-containers/shared/", sandbox_id);
}

}  // namespace kata::virtcontainers
