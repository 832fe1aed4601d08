// SPDX-License-Identifier: Apache-2.0
// The files of /etc that a pod's containers share (virtcontainers::PodSettings): with a sandbox container its caller
// makes them, without one it leaves them to the shim.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "proto/schema/pod_config.pb.h"

namespace kata::shimv2 {

// As resolv.conf; empty when it says nothing. InvalidArgument for a word that is none: with a blank or a line's end.
absl::StatusOr<std::string> ResolvConf(const runtime::v1::DnsConfig& dns);

// Writes hostname, hosts and resolv.conf into `directory`, which is made; what the pod's configuration does not say is
// the host's, from below `host_etc`. Blocking.
absl::Status WritePodFiles(const runtime::v1::PodSandboxConfig& config, const std::string& hostname,
                           const std::string& host_etc, const std::string& directory);

}  // namespace kata::shimv2
