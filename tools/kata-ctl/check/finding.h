// SPDX-License-Identifier: Apache-2.0
// What a look at the host has found: one line for a person, and what to do about it.
#pragma once

#include <string>
#include <vector>

#include "virtcontainers/config/config.h"

namespace kata::ctl {

enum class Level {
  kGood,
  kNote,     // works, and is worth knowing
  kWarning,  // works worse than it could
  kError,    // no pod will start
};

struct Finding {
  std::string what;
  Level level = Level::kGood;
  std::string text;
  std::string fix;  // empty: there is nothing to be done
};

using Findings = std::vector<Finding>;

// Each looks at one part of the host, and changes nothing that stays. Blocking.
Finding CheckAccelerator(const virtcontainers::Config& config);
Findings CheckPrograms(const virtcontainers::Config& config);
Findings CheckFiles(const virtcontainers::Config& config);
// In a network namespace of its own, which goes with it.
Finding CheckNetwork(const virtcontainers::Config& config);
Finding CheckCgroups(const virtcontainers::Config& config);
Findings CheckRoom(const virtcontainers::Config& config);
// Those that run here, and what they were started with. `shim`: the installed one.
Findings CheckContainerd(const std::string& shim);

}  // namespace kata::ctl
