// SPDX-License-Identifier: Apache-2.0
// Whether a sandbox's machine goes on from a template. Blocking; pool threads.
#pragma once

#include "hypervisors/hypervisor.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/sandbox/sandbox_cgroup.h"

namespace kata::virtcontainers {

// Whether machines of this configuration can be clones: what is said to the agent goes over a serial port then, and
// files come by virtio-fs.
bool CanBeClone(const Config& config);

// Where there is a template of this machine, `spec` goes on from it. Where there is none, it is had made meanwhile, by
// a process of its own, for the pods that come later. Nothing of this fails a start.
void UseTemplate(const Config& config, hypervisors::VmSpec& spec);

// The shim fills a clone's memory. In a cgroup without room for it the host's kernel would end the shim, which can say
// nothing of it then: the machine boots instead, and is what the kernel ends.
void LeaveTemplateWithoutRoom(const SandboxCgroup& cgroup, hypervisors::VmSpec& spec);

// The template of `saved_state` did not serve: it is to be made anew.
void DropTemplate(const Config& config, const std::string& saved_state);

}  // namespace kata::virtcontainers
