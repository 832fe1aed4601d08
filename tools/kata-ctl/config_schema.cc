// SPDX-License-Identifier: Apache-2.0
#include "tools/kata-ctl/config_schema.h"

#include <string>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

namespace kata::ctl {
namespace {

using virtcontainers::ConfigKey;
using Json = nlohmann::ordered_json;

struct KindOf {
  Json operator()(const virtcontainers::TextKey&) const { return {{"type", "string"}}; }
  Json operator()(const virtcontainers::NumberKey& key) const {
    return {{"type", "integer"}, {"minimum", key.low}, {"maximum", key.high}};
  }
  Json operator()(const virtcontainers::SwitchKey&) const { return {{"type", "boolean"}}; }
  Json operator()(const virtcontainers::ChoiceKey& key) const { return {{"type", "string"}, {"enum", key.words}}; }
  Json operator()(const virtcontainers::ListKey&) const { return {{"type", "array"}, {"items", {{"type", "string"}}}}; }
};

// Of a table with dots in its name, made on the way with what is above it.
Json& TableOf(Json& schema, const std::string& name) {
  Json* at = &schema;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(name, '.'))) {
    at = &(*at)["properties"][part];
    (*at)["type"] = "object";
    (*at)["additionalProperties"] = false;
  }
  return *at;
}

}  // namespace

Json ValueAsJson(const ConfigKey& key, const virtcontainers::Config& config) {
  const std::string text = virtcontainers::ValueAsToml(key, config);
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? Json(text) : value;
}

Json ConfigSchema() {
  const virtcontainers::Config defaults;
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", "Configuration of Kata Containers"},
                 {"type", "object"},
                 {"additionalProperties", false}};
  for (const ConfigKey& key : virtcontainers::ConfigKeys()) {
    Json entry = std::visit(KindOf(), key.kind);
    entry["description"] = key.unit.empty() ? key.doc : absl::StrCat(key.doc, " In ", key.unit, ".");
    entry["default"] = ValueAsJson(key, defaults);
    TableOf(schema, key.table)["properties"][key.name] = std::move(entry);
  }
  return schema;
}

}  // namespace kata::ctl
