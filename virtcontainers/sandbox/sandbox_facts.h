// SPDX-License-Identifier: Apache-2.0
// What is known of a sandbox, in words for people. Pure.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>

#include "virtcontainers/config/config.h"

namespace kata::virtcontainers {

struct SandboxFacts {
  const Config* config = nullptr;
  hypervisors::MachineSize size;
  pid_t machine_pid = 0;    // 0: none
  pid_t virtiofsd_pid = 0;  // 0: none
  hypervisors::Accelerator accelerator = hypervisors::Accelerator::kAuto;
  bool is_clone = false;           // of a template
  std::string guest_kernel;        // empty: not known yet
  std::set<std::string> features;  // of the agent
};

// Only what is known: a name that is missing has no value yet.
std::map<std::string, std::string> Describe(const SandboxFacts& facts);

}  // namespace kata::virtcontainers
