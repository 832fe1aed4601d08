// SPDX-License-Identifier: Apache-2.0
// The hooks of an OCI document: programs that the caller wants run at points of a container's life, on the host or in
// the guest (run_hook.h). Pure.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <nlohmann/json_fwd.hpp>

namespace kata {

inline constexpr size_t kHooksMax = 64;  // of one point
// For a hook without a time limit of its own. None may hold up a container for ever.
inline constexpr std::chrono::seconds kHookTimeout{120};

struct Hook {
  std::string path;               // absolute
  std::vector<std::string> args;  // args[0] is its name; without any it is its path
  // "NAME=value"; nothing: it has the environment of who runs it.
  std::optional<std::vector<std::string>> environment;
  std::chrono::seconds timeout = kHookTimeout;
};

// By the point's name: "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop".
// Points without hooks are not in it.
using Hooks = std::map<std::string, std::vector<Hook>>;

// `json` is the document's "hooks". InvalidArgument that names the field.
absl::StatusOr<Hooks> ReadHooks(const nlohmann::json& json);

// What a hook reads from its standard input: the container's state, as the OCI's runtime specification has it.
// `document` is the container's.
std::string HookState(const nlohmann::json& document, const std::string& id, const std::string& bundle);
// The same with the status ("creating", "created", "running", "stopped") and the pid, if it is not 0.
std::string WithStatus(const std::string& state, const std::string& status, int pid);

}  // namespace kata
