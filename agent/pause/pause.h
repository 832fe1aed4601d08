// SPDX-License-Identifier: Apache-2.0
// A sandbox container: it holds the pod's namespaces, and nothing of an image is in it. Its process is the agent's own
// program (program.cc), which the agent carries as data.
//
// Who shares its pid namespace and has the rights can reach that process's root and its program through /proc. So the
// program is a file of this container's own, on a tmpfs that is read-only by then: there is nothing of the agent's to
// overwrite, and nobody else executes it. And no /proc is mounted there, which nobody has masked.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "agent/oci/spec.h"

namespace kata::agent {

// Of the document stay its process's user and rights, namespaces, names, sysctls and limits. `root`: a directory, for a
// mount in the process's own mount namespace.
void MakeSandboxContainer(ContainerSpec& spec, std::string root);
// In the child, in a mount namespace of its own: the root, with the program and nothing else.
absl::Status MountPauseRoot(const std::string& root);
// In the child, before it executes the program.
absl::Status BlockPauseSignals();

}  // namespace kata::agent
