// SPDX-License-Identifier: Apache-2.0
// Where the devices go that are plugged into a running machine: each on a root port of its own, of which there are few,
// or, disks, on one SCSI controller, which takes as many as come. No I/O, one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <absl/status/statusor.h>

#include "hypervisors/device.h"

namespace kata::hypervisors {

// Free ports that disks leave to others: one for the controller, one for an interface that comes late.
inline constexpr uint32_t kPortsKept = 2;

struct DeviceSlot {
  int index = 0;  // of the device in its machine, never used twice
  bool is_scsi = false;
  // The controller is not there yet, and takes a port.
  bool needs_controller = false;
};

class DeviceSlots {
 public:
  // `first_index`: those before are the devices of the machine's start.
  DeviceSlots(uint32_t root_ports, int first_index) : root_ports_(root_ports), next_index_(first_index) {}

  // Counts from here on. AlreadyExists when the id is taken, ResourceExhausted when there is no place. Who is told to
  // make the controller says what became of that before the next call.
  absl::StatusOr<DeviceSlot> Take(const Device& device);
  void ControllerFailed() { has_controller_ = false; }
  void Free(const std::string& id) { taken_.erase(id); }
  bool empty() const { return taken_.empty() && !has_controller_; }
  // Null for an id that has none.
  const DeviceSlot* Find(const std::string& id) const;

 private:
  uint32_t FreePorts() const;

  uint32_t root_ports_;
  int next_index_;
  bool has_controller_ = false;
  std::map<std::string, DeviceSlot> taken_;
};

}  // namespace kata::hypervisors
