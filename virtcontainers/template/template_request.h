// SPDX-License-Identifier: Apache-2.0
// What the program that makes templates is told: the machine that a pod would have booted, without what is the pod's
// own. Pure.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "hypervisors/hypervisor.h"

namespace kata::virtcontainers {

struct TemplateRequest {
  hypervisors::VmSpec spec;
  std::string store;          // the templates' directory
  uint32_t dial_timeout = 0;  // s
};

std::string ToText(const TemplateRequest& request);
absl::StatusOr<TemplateRequest> ParseTemplateRequest(const std::string& text);

}  // namespace kata::virtcontainers
