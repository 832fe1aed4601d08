// SPDX-License-Identifier: Apache-2.0
// Words that the host gives to this machine, by name, in the firmware's configuration (QEMU's fw_cfg). Unlike the
// command line they are no part of the guest's memory: a machine that is cloned from another finds its own. Blocking,
// some microseconds; after PrepareGuest, which mounts /sys.
#pragma once

#include <string>

#include <absl/status/statusor.h>

namespace kata::agent {

// NotFound when there is none of this name, or the kernel has no FW_CFG_SYSFS.
absl::StatusOr<std::string> ReadHostWord(const std::string& name);

}  // namespace kata::agent
