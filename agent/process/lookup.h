// SPDX-License-Identifier: Apache-2.0
// Finds the program of a process as execvp(3) would, but before the start, with the error texts
// that engines look for. Uses the calling process's root, working directory and rights.
#pragma once

#include <absl/strings/string_view.h>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace kata::agent {

// Value of `name` in an environment list; empty when absent.
std::string EnvironmentValue(const std::vector<std::string>& env, absl::string_view name);
// Each name once, at its first place, with its last value.
std::vector<std::string> DistinctEnvironment(const std::vector<std::string>& env);
void SetEnvironmentValue(std::vector<std::string>& env, absl::string_view name, absl::string_view value);
absl::StatusOr<std::string> FindProgram(const std::string& name, const std::string& search_path);

}  // namespace kata::agent
