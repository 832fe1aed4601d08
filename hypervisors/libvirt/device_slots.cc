// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/device_slots.h"

#include <algorithm>
#include <variant>

#include <absl/strings/str_cat.h>

namespace kata::hypervisors {

uint32_t DeviceSlots::FreePorts() const {
  const auto on_ports =
      std::count_if(taken_.begin(), taken_.end(), [](const auto& entry) { return !entry.second.is_scsi; });
  const auto used = static_cast<uint32_t>(on_ports) + (has_controller_ ? 1 : 0);
  return root_ports_ > used ? root_ports_ - used : 0;
}

absl::StatusOr<DeviceSlot> DeviceSlots::Take(const Device& device) {
  if (taken_.contains(device.id)) return absl::AlreadyExistsError("the id is taken");
  DeviceSlot slot;
  const auto* disk = std::get_if<BlockDisk>(&device.kind);
  slot.is_scsi = disk != nullptr && (disk->ways.is_on_scsi || has_controller_ || FreePorts() <= kPortsKept);
  slot.needs_controller = slot.is_scsi && !has_controller_;
  if ((!slot.is_scsi || slot.needs_controller) && FreePorts() == 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all of its ", root_ports_, " root ports are taken; raise \"pcie_root_port\""));
  }
  if (slot.needs_controller) has_controller_ = true;
  slot.index = next_index_++;
  taken_[device.id] = slot;
  return slot;
}

const DeviceSlot* DeviceSlots::Find(const std::string& id) const {
  const auto found = taken_.find(id);
  return found == taken_.end() ? nullptr : &found->second;
}

}  // namespace kata::hypervisors
