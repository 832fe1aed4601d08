// SPDX-License-Identifier: Apache-2.0
// libvirt's words for a Device. Pure functions, any thread.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "hypervisors/device.h"
#include "hypervisors/libvirt/domain_xml.h"
#include "hypervisors/libvirt/xml_writer.h"

namespace kata::hypervisors {

// Where a device's element is written: a device of the start gets an address on the root complex, one that comes later
// a root port of libvirt's choice, or, a disk, a place on the SCSI controller.
enum class DevicePlace { kRootComplex, kRootPort, kScsi };

// InvalidArgument when the id or a value has a form that it may not have.
absl::Status CheckDevice(const Device& device);

// Writes the element; nothing for a device that libvirt has no words for (DeviceArguments has). `index` tells
// disks of one machine apart.
void WriteDevice(XmlWriter& xml, const Device& device, const MachinePaths& paths, DevicePlace place, int index,
                 uint32_t port = 0, uint32_t thread = 0);

// What libvirt has no words for, as words of QEMU's own command line.
std::vector<std::string> DeviceArguments(const Device& device, const MachinePaths& paths);

// The element alone, for a machine that runs; FailedPrecondition for a kind that comes with the start only. A disk's
// files are expected in the set FileSetOf(index). `port`: the number of its root port; 0: libvirt's choice. `thread`:
// the number of a disk's, from DiskThread; 0: none.
absl::StatusOr<std::string> DeviceXml(const Device& device, const MachinePaths& paths, int index,
                                      DevicePlace place = DevicePlace::kRootPort, uint32_t port = 0,
                                      uint32_t thread = 0);
// The SCSI controller that disks can be plugged into, on a root port of libvirt's choice.
absl::StatusOr<std::string> ScsiControllerXml(uint32_t thread = 0);
// Which of the machine's threads works for the disk, or for the SCSI controller, at this place; 0: none.
uint32_t DiskThread(const VmSpec& spec, DevicePlace place, int index);
int FileSetOf(int index);

// What libvirt calls the device in the document of the running domain.
std::string DeviceAlias(const std::string& id);
// The name under which the device's open file is handed to libvirt.
std::string FileGroup(const std::string& id);
// The descriptor that comes with the device; -1 for none.
int FileOf(const Device& device);

}  // namespace kata::hypervisors
