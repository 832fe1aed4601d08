// SPDX-License-Identifier: Apache-2.0
// What CreateSandbox says of a pod. Pure.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/schema/pod_config.pb.h"
#include "proto/schema/sandbox.pb.h"
#include "shimv2/pod/pod_description.h"

namespace kata::shimv2 {

// The request's options, empty when they are of another type or none. InvalidArgument when they cannot be read.
absl::StatusOr<runtime::v1::PodSandboxConfig> ParsePodConfig(const wire::Any& options);

// `base`: what the bundle's document says, if there is one; the request's own words win. `etc_directory`: where the
// files of the pod's /etc are.
PodDescription DescribePod(PodDescription base, const containerd::runtime::sandbox::v1::CreateSandboxRequest& request,
                           const runtime::v1::PodSandboxConfig& config, const std::string& etc_directory);

}  // namespace kata::shimv2
