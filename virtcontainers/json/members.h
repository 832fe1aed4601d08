// SPDX-License-Identifier: Apache-2.0
// Members of a document's objects that may be absent, or of another kind than they should be. Pure.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace kata::virtcontainers {

// Null where there is none, and for what is no object.
const nlohmann::json& MemberOf(const nlohmann::json& object, const char* key);
// Empty where there is no text.
std::string TextOf(const nlohmann::json& object, const char* key);
// The texts of a list, without what is none.
std::vector<std::string> TextsOf(const nlohmann::json& object, const char* key);

}  // namespace kata::virtcontainers
