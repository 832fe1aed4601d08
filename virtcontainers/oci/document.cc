// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/oci/document.h"

#include <utility>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::virtcontainers {
namespace {

bool HasObject(const nlohmann::json& object, const char* key) {
  auto at = object.find(key);
  return at != object.end() && at->is_object();
}

}  // namespace

OciDocument::OciDocument() = default;
OciDocument::~OciDocument() = default;

absl::StatusOr<std::shared_ptr<const OciDocument>> OciDocument::Parse(const std::string& text) {
  auto json = std::make_unique<nlohmann::json>(nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false));
  if (json->is_discarded()) {
    return absl::InvalidArgumentError("it is not valid JSON; it must hold an OCI runtime spec");
  }
  if (!json->is_object() || !HasObject(*json, "process") || !HasObject(*json, "root")) {
    return absl::InvalidArgumentError("it is not an OCI runtime spec: \"process\" and \"root\" objects are needed");
  }
  std::shared_ptr<OciDocument> document(new OciDocument());
  document->json_ = std::move(json);
  return std::shared_ptr<const OciDocument>(std::move(document));
}

std::shared_ptr<const OciDocument> OciDocument::Of(nlohmann::json json) {
  std::shared_ptr<OciDocument> document(new OciDocument());
  document->json_ = std::make_unique<nlohmann::json>(std::move(json));
  return document;
}

absl::StatusOr<std::shared_ptr<const OciDocument>> OciDocument::Read(const std::string& bundle) {
  const std::string path = absl::StrCat(bundle, "/config.json");
  auto text = ReadFile(path, kConfigJsonSizeMax);
  if (!text.ok()) return Annotate(text.status(), "reading the bundle");
  auto document = Parse(*text);
  if (!document.ok()) return Annotate(document.status(), absl::StrCat("reading \"", path, "\""));
  return document;
}

}  // namespace kata::virtcontainers
