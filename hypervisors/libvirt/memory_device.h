// SPDX-License-Identifier: Apache-2.0
// The virtio-mem device by which a running machine grows: one, plugged in when it is first needed, of which the guest
// has as much as is asked for. On a root port of its own, the one after those for other devices.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

#include "hypervisors/hypervisor.h"

namespace kata::hypervisors {

// What the device can give at most; 0: the machine cannot grow.
uint64_t MemoryDeviceMib(const VmSpec& spec);
bool CanGrowInMemory(const VmSpec& spec);

// `size` as the machine can have it.
MachineSize WithinBounds(const VmSpec& spec, MachineSize size);

// The element with `requested_mib` of it asked for, a multiple of kMemoryStepMib.
absl::StatusOr<std::string> MemoryDeviceXml(const VmSpec& spec, uint64_t requested_mib);

}  // namespace kata::hypervisors
