// SPDX-License-Identifier: Apache-2.0
#include "proto/base/hook.h"

#include <array>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "proto/base/status.h"

namespace kata {
namespace {

using Json = nlohmann::json;

constexpr std::array<const char*, 6> kPoints = {"prestart",       "createRuntime", "createContainer",
                                                "startContainer", "poststart",     "poststop"};

// Of a document that does not say.
constexpr char kVersion[] = "1.0.2";

std::string Text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

bool HasZero(const std::string& text) { return text.find('\0') != std::string::npos; }

absl::StatusOr<std::vector<std::string>> ReadTexts(const Json& json, const std::string& place) {
  if (!json.is_array()) return absl::InvalidArgumentError(absl::StrCat(place, ": must be a list of texts"));
  std::vector<std::string> out;
  for (const Json& entry : json) {
    if (!entry.is_string() || HasZero(entry.get<std::string>()))
      return absl::InvalidArgumentError(absl::StrCat(place, ": must be a list of texts"));
    out.push_back(entry.get<std::string>());
  }
  return out;
}

bool IsGiven(const Json& object, const char* key) { return object.contains(key) && !object[key].is_null(); }

absl::StatusOr<Hook> ReadHook(const Json& json, const std::string& place) {
  if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(place, ": must be an object"));
  Hook hook;
  if (IsGiven(json, "path") && json["path"].is_string()) hook.path = json["path"].get<std::string>();
  if (hook.path.empty() || hook.path[0] != '/' || HasZero(hook.path))
    return absl::InvalidArgumentError(absl::StrCat(place, ".path: must be an absolute path"));
  if (IsGiven(json, "args")) {
    ASSIGN_OR_RETURN(hook.args, ReadTexts(json["args"], absl::StrCat(place, ".args")));
  }
  if (IsGiven(json, "env")) {
    ASSIGN_OR_RETURN(hook.environment, ReadTexts(json["env"], absl::StrCat(place, ".env")));
  }
  if (IsGiven(json, "timeout")) {
    const Json& timeout = json["timeout"];
    if (!timeout.is_number_integer() || timeout.get<int64_t>() <= 0 || timeout.get<int64_t>() > INT32_MAX)
      return absl::InvalidArgumentError(absl::StrCat(place, ".timeout: must be a number of seconds greater than 0"));
    hook.timeout = std::chrono::seconds(timeout.get<int64_t>());
  }
  return hook;
}

}  // namespace

absl::StatusOr<Hooks> ReadHooks(const Json& json) {
  Hooks hooks;
  if (json.is_null()) return hooks;
  if (!json.is_object()) return absl::InvalidArgumentError("hooks: must be an object");
  for (const char* point : kPoints) {
    if (!IsGiven(json, point)) continue;
    const std::string place = absl::StrCat("hooks.", point);
    const Json& list = json[point];
    if (!list.is_array()) return absl::InvalidArgumentError(absl::StrCat(place, ": must be a list"));
    if (list.size() > kHooksMax)
      return absl::InvalidArgumentError(absl::StrCat(place, ": ", list.size(), " hooks, at most ", kHooksMax));
    for (size_t i = 0; i < list.size(); ++i) {
      ASSIGN_OR_RETURN(Hook hook, ReadHook(list[i], absl::StrCat(place, "[", i, "]")));
      hooks[point].push_back(std::move(hook));
    }
  }
  return hooks;
}

std::string HookState(const Json& document, const std::string& id, const std::string& bundle) {
  const Json version = document.value("ociVersion", Json());
  Json json = {{"ociVersion", version.is_string() ? version : Json(kVersion)}, {"id", id}, {"bundle", bundle}};
  if (const Json annotations = document.value("annotations", Json()); annotations.is_object())
    json["annotations"] = annotations;
  return Text(json);
}

std::string WithStatus(const std::string& state, const std::string& status, int pid) {
  Json json = Json::parse(state, nullptr, false);
  if (!json.is_object()) return state;
  json["status"] = status;
  if (pid > 0) json["pid"] = pid;
  return Text(json);
}

}  // namespace kata
