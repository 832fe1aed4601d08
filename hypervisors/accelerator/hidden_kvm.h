// SPDX-License-Identifier: Apache-2.0
// An emulated machine's libvirt must not see the device of hardware virtualization: where QEMU's user may not open it,
// libvirt's probe of the emulator may all the same, and what it finds is thrown away as outdated and probed again a
// dozen times for each machine.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace kata::hypervisors {

// Moves the calling thread, with all processes that it will start, to a mount namespace of its own in which `device` is
// an empty file, `cover`, that only its owner root could open. Mounts of the host go on to come and go in it. Does
// nothing when there is no device. For a thread that ends afterwards.
absl::Status HideKvm(const std::string& device, const std::string& cover);

}  // namespace kata::hypervisors
