// SPDX-License-Identifier: Apache-2.0
// The options that a caller of the runtime gives, with `start` or with Create (docs/shim-contract.md section 6). Pure.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/schema/wire.pb.h"

namespace kata::shimv2 {

struct RuntimeOptions {
  std::string config_path;
  std::string config_body;  // TOML; counts only when there is no path
  std::string shim_cgroup;  // the cgroup that the shim shall be in; of runc's options

  bool empty() const { return config_path.empty() && config_body.empty(); }
};

// Options of a type nobody here knows count as none; of runc's only the shim's cgroup means something here
// (docs/oci-fields.md). InvalidArgument when they cannot be read.
absl::StatusOr<RuntimeOptions> ParseRuntimeOptions(const wire::Any& any);
bool IsRuntimeOptions(const wire::Any& any);
// An Any that holds an Any is taken out of it.
wire::Any Unwrapped(wire::Any any);

}  // namespace kata::shimv2
