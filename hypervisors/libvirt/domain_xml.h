// SPDX-License-Identifier: Apache-2.0
// The libvirt document of one machine, and the names and paths that follow from its name and runtime directory.
// Pure functions, any thread. Nothing of the guest's choosing enters here.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "hypervisors/hypervisor.h"

namespace kata::hypervisors {

// Name of the domain: the sandbox id where libvirt keeps it unchanged in cgroup names, else a readable prefix of it and
// a digest. At most 41 characters of [A-Za-z0-9-].
std::string DomainName(const std::string& name);

// Where things are. A socket path has a limit of 107 bytes, sandbox ids have up to 96, so everything is addressed
// through `short_dir`, a symbolic link to the runtime directory.
struct MachinePaths {
  explicit MachinePaths(const std::string& runtime_dir);

  std::string runtime_dir;
  std::string short_dir;     // /run/kata-vm/<digest>
  std::string libvirt_root;  // below short_dir
  std::string agent_socket;  // below short_dir
  std::string console_fifo;  // below short_dir

  // `path` through short_dir when it lies below the runtime directory, else unchanged.
  std::string Shorten(const std::string& path) const;
};

// Whether `device` cannot be there while QEMU loads a saved state, as of QEMU 7.2: it is plugged in before the guest
// goes on.
bool ComesLate(const Device& device);
// The root port that every cloneable machine has for such a device.
uint32_t LatePort(const VmSpec& spec);

// `is_kvm` is the decided accelerator.
absl::StatusOr<std::string> DomainXml(const VmSpec& spec, const MachinePaths& paths, bool is_kvm);

}  // namespace kata::hypervisors
