// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sockets/socket_rules.h"

#include <fnmatch.h>

#include <algorithm>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

namespace kata::virtcontainers {

absl::Status CheckSocketPattern(const std::string& pattern) {
  const auto bad = [&pattern](const char* why) {
    return absl::InvalidArgumentError(absl::StrCat("pattern \"", pattern, "\": ", why));
  };
  if (!absl::StartsWith(pattern, "/")) return bad("an absolute path is needed");
  if (pattern.find_first_of("?[\\") != std::string::npos) return bad("of ? [ \\ and * only the last one may be there");
  for (const absl::string_view part : absl::StrSplit(absl::string_view(pattern).substr(1), '/')) {
    if (part.empty() || part == "." || part == "..")
      return bad("a path without empty parts, \".\" and \"..\" is needed");
  }
  return absl::OkStatus();
}

bool IsListed(const SocketRules& rules, const std::string& path) {
  return std::any_of(rules.patterns.begin(), rules.patterns.end(), [&path](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME | FNM_PERIOD | FNM_NOESCAPE) == 0;
  });
}

}  // namespace kata::virtcontainers
