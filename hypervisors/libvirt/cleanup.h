// SPDX-License-Identifier: Apache-2.0
// Finding and removing what one machine has on the host, without libvirt. Blocking, any thread except the io thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include <absl/status/status.h>

#include "hypervisors/libvirt/domain_xml.h"
#include "proto/base/fd.h"

namespace kata::hypervisors {

// Pid in libvirt's pid file, or 0 if there is none.
pid_t PidFromFile(const MachinePaths& paths, const std::string& domain);
// True if `pid` now is a QEMU that libvirt started under this domain name and root (pids are used again).
bool IsMachineProcess(pid_t pid, const MachinePaths& paths, const std::string& domain);
// A descriptor of that process; not valid if there is none.
UniqueFd OpenMachineProcess(const MachinePaths& paths, const std::string& domain);

struct EmulatorProcess {
  pid_t pid = 0;
  UniqueFd pidfd;
};
// Every emulator that this machine's libvirt has started: that of the machine, and before it the one that is asked what
// it can do, which detaches itself and has no pid file of the domain. Found by their command lines.
std::vector<EmulatorProcess> FindEmulators(const MachinePaths& paths);
// Removes the domain's cgroups, which must have no process, in every hierarchy.
absl::Status RemoveCgroups(const std::string& cgroup_root, const std::string& domain);
// Removes libvirt's root, sockets, the fifo and the short link; the runtime directory stays.
absl::Status RemoveFiles(const MachinePaths& paths);

}  // namespace kata::hypervisors
