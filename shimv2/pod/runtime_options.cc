// SPDX-License-Identifier: Apache-2.0
#include "shimv2/pod/runtime_options.h"

#include <utility>

#include "proto/schema/runtime_options.pb.h"
#include "shimv2/pod/type_url.h"

namespace kata::shimv2 {
namespace {

constexpr int kWrappingMax = 4;

}  // namespace

bool IsRuntimeOptions(const wire::Any& any) { return HasType(any, "runtimeoptions.v1.Options"); }

wire::Any Unwrapped(wire::Any any) {
  for (int i = 0; i < kWrappingMax && HasType(any, "google.protobuf.Any"); ++i) {
    wire::Any inner;
    if (!inner.ParseFromString(any.value())) break;
    any = std::move(inner);
  }
  return any;
}

absl::StatusOr<RuntimeOptions> ParseRuntimeOptions(const wire::Any& any) {
  RuntimeOptions out;
  if (HasType(any, "containerd.runc.v1.Options")) {
    runtimeoptions::v1::RuncOptions options;
    if (!options.ParseFromString(any.value()))
      return absl::InvalidArgumentError(
          "reading the runtime options: they are not a containerd.runc.v1.Options message");
    out.shim_cgroup = options.shim_cgroup();
    return out;
  }
  if (!IsRuntimeOptions(any)) return out;
  runtimeoptions::v1::Options options;
  if (!options.ParseFromString(any.value())) {
    return absl::InvalidArgumentError("reading the runtime options: they are not a runtimeoptions.v1.Options message");
  }
  out.config_path = options.config_path();
  if (out.config_path.empty()) out.config_body = options.config_body();
  return out;
}

}  // namespace kata::shimv2
