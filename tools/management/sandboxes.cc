// SPDX-License-Identifier: Apache-2.0
#include "tools/management/sandboxes.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "tools/management/ask.h"
#include "virtcontainers/paths.h"

namespace kata::management {
namespace {

using Json = nlohmann::ordered_json;

std::string TextOf(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

bool IsMeant(const Pod& pod, const std::string& word) {
  if (absl::StartsWith(pod.sandbox, word)) return true;
  if (!pod.state.is_object()) return false;
  const std::string name = TextOf(pod.state, "pod");
  if (!name.empty() && (word == name || word == absl::StrCat(TextOf(pod.state, "pod_namespace"), "/", name)))
    return true;
  const auto containers = pod.state.find("containers");
  if (containers == pod.state.end() || !containers->is_array()) return false;
  return std::any_of(containers->begin(), containers->end(),
                     [&word](const Json& container) { return absl::StartsWith(TextOf(container, "id"), word); });
}

}  // namespace

std::vector<std::string> ListSandboxes() {
  std::vector<std::string> out;
  std::error_code error;
  std::filesystem::directory_iterator entries(virtcontainers::RuntimeDirectory(""), error);
  if (error) return out;
  for (const std::filesystem::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (virtcontainers::IsValidSandboxId(name) && entry.is_directory(error)) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Pod> LookAtPods() {
  http::Question question;
  question.path = "/state";
  std::vector<Pod> out;
  for (auto& [sandbox, answer] : AskShimsNow(ListSandboxes(), question)) {
    std::error_code gone;
    if (!answer.ok() && !std::filesystem::exists(virtcontainers::RuntimeDirectory(sandbox), gone)) continue;
    Pod& pod = out.emplace_back();
    pod.sandbox = sandbox;
    if (!answer.ok()) {
      pod.error = std::string(answer.status().message());
      continue;
    }
    pod.state = Json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
    if (!pod.state.is_object()) {
      pod.state = nullptr;
      pod.error = absl::StrCat("the shim of sandbox \"", sandbox, "\" does not answer with its state");
    }
  }
  return out;
}

absl::StatusOr<Pod> FindPod(const std::string& word) {
  if (word.empty()) return absl::InvalidArgumentError("which pod? kata-ctl ps lists them");
  std::vector<Pod> found;
  for (Pod& pod : LookAtPods()) {
    if (IsMeant(pod, word)) found.push_back(std::move(pod));
  }
  if (found.empty())
    return absl::NotFoundError(absl::StrCat("there is no pod \"", word, "\" here; kata-ctl ps lists them"));
  if (found.size() == 1) return std::move(found.front());
  const auto names = absl::StrJoin(found, ", ", [](std::string* out, const Pod& pod) { out->append(pod.sandbox); });
  return absl::InvalidArgumentError(absl::StrCat("\"", word, "\" may mean any of ", names));
}

}  // namespace kata::management
