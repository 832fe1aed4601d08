// SPDX-License-Identifier: Apache-2.0
// What ps and top say of one pod: its state, and what the host's kernel says of its processes. Blocking.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "tools/management/sandboxes.h"

namespace kata::ctl {

struct PodLine {
  std::string sandbox;
  std::string pod;  // "NAMESPACE/NAME", or the caller's id
  std::string state;
  size_t containers = 0;
  std::string processors;
  uint64_t machine_bytes = 0;   // that the guest has
  uint64_t resident_bytes = 0;  // of the pod's processes on the host
  double cpu_seconds = 0;       // of these, since they began
  std::string accelerator;
  std::string started_by;
  int64_t age_seconds = 0;
};

PodLine LineOf(const management::Pod& pod);
nlohmann::ordered_json JsonOf(const PodLine& line);

// Empty where it is missing or no text.
std::string TextOf(const nlohmann::ordered_json& object, const char* key);

}  // namespace kata::ctl
