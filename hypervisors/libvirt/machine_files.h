// SPDX-License-Identifier: Apache-2.0
// What must be on disk before a machine starts: checked files of the configuration, the short link, libvirt's root
// with its configuration. Blocking, any thread except the io thread.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "hypervisors/hypervisor.h"
#include "hypervisors/libvirt/domain_xml.h"

namespace kata::hypervisors {

// The text of libvirt's qemu.conf for a machine of this user.
std::string QemuConf(uid_t uid, gid_t gid);
// Where the spec's host-wide cache keeps libvirt's capability files, which differ with the accelerator.
std::string CapabilitiesDir(const VmSpec& spec, bool is_kvm);
absl::Status PrepareMachine(const VmSpec& spec, const MachinePaths& paths);

}  // namespace kata::hypervisors
