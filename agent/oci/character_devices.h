// SPDX-License-Identifier: Apache-2.0
// Character devices that a container asks for: they are the guest's, whose kernel may have no driver for them. Blocking
// for a look at sysfs; any thread.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "agent/oci/spec.h"

namespace kata::agent {

inline constexpr char kSysCharacterDevices[] = "/sys/dev/char";

// InvalidArgument for one that the guest does not have and that a rule of the container's own names by its number, as
// engines write for a device that somebody asked for. A privileged container's list of all that the host has is let be.
absl::Status CheckCharacterDevices(const ContainerSpec& spec, const std::string& known = kSysCharacterDevices);

}  // namespace kata::agent
