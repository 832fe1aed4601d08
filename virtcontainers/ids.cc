// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/ids.h"

#include <absl/strings/ascii.h>

namespace kata::virtcontainers {

bool IsValidId(const std::string& id) {
  if (id.empty() || id.size() > kIdSizeMax) return false;
  if (!absl::ascii_isalnum(static_cast<unsigned char>(id[0]))) return false;
  for (char c : id) {
    const bool is_mark = c == '.' || c == '_' || c == '-';
    if (!is_mark && !absl::ascii_isalnum(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

bool IsValidSandboxId(const std::string& id) { return IsValidId(id) && id != "shared"; }

}  // namespace kata::virtcontainers
