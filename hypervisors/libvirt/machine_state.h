// SPDX-License-Identifier: Apache-2.0
// A machine's state on disk, and a machine that goes on from it: the memory as a file of ours, the devices as QEMU
// writes them to migrate, without the memory that is shared. libvirt's own way to save copies the memory through QEMU
// and ties it to one domain. Blocking.
#pragma once

#include <sys/types.h>

#include <string>

#include <absl/status/status.h>

#include "hypervisors/hypervisor.h"
#include "hypervisors/libvirt/libvirt_session.h"

namespace kata::hypervisors {

// Of the machine with the process `pid`, which is paused and stays so, into two new files of `directory`.
absl::Status SaveState(LibvirtSession& session, pid_t pid, const VmSpec& spec, const std::string& directory);
// Into a machine that was created paused, with "-incoming defer". On failure it can only be ended.
absl::Status LoadState(LibvirtSession& session, pid_t pid, const VmSpec& spec, const std::string& directory);

}  // namespace kata::hypervisors
