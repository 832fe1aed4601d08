// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/json/members.h"

#include <nlohmann/json.hpp>

namespace kata::virtcontainers {

using Json = nlohmann::json;

const Json& MemberOf(const Json& object, const char* key) {
  static const Json kNothing;
  auto at = object.find(key);  // none in what is no object
  return at != object.end() ? *at : kNothing;
}

std::string TextOf(const Json& object, const char* key) {
  const Json& member = MemberOf(object, key);
  return member.is_string() ? member.get<std::string>() : "";
}

std::vector<std::string> TextsOf(const Json& object, const char* key) {
  std::vector<std::string> out;
  const Json& list = MemberOf(object, key);
  if (!list.is_array()) return out;
  for (const Json& entry : list) {
    if (entry.is_string()) out.push_back(entry.get<std::string>());
  }
  return out;
}

}  // namespace kata::virtcontainers
