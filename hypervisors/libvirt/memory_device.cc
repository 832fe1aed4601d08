// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/memory_device.h"

#include <algorithm>

#include <fmt/format.h>

#include "hypervisors/libvirt/device_xml.h"
#include "hypervisors/libvirt/xml_writer.h"

namespace kata::hypervisors {
namespace {

// Linux adds memory in blocks of this on x86; less than one at an end would be lost.
constexpr uint64_t kBlockMib = 128;
constexpr char kMemoryDevice[] = "memory";

}  // namespace

uint64_t MemoryDeviceMib(const VmSpec& spec) {
  if (spec.memory_max_mib <= spec.memory_mib) return 0;
  return (spec.memory_max_mib - spec.memory_mib) / kBlockMib * kBlockMib;
}

bool CanGrowInMemory(const VmSpec& spec) { return MemoryDeviceMib(spec) != 0; }

MachineSize WithinBounds(const VmSpec& spec, MachineSize size) {
  const uint64_t wanted = std::max(size.memory_mib, spec.memory_mib) - spec.memory_mib;
  const uint64_t steps = (wanted + kMemoryStepMib - 1) / kMemoryStepMib;
  size.memory_mib = spec.memory_mib + std::min(steps * kMemoryStepMib, MemoryDeviceMib(spec));
  size.vcpus = std::clamp(size.vcpus, spec.vcpus, std::max(spec.vcpus, spec.vcpus_max));
  return size;
}

absl::StatusOr<std::string> MemoryDeviceXml(const VmSpec& spec, uint64_t requested_mib) {
  XmlWriter xml;
  xml.Open("memory", {{"model", "virtio-mem"}});
  xml.Open("target");
  xml.Leaf("size", {{"unit", "MiB"}}, std::to_string(MemoryDeviceMib(spec)));
  xml.Leaf("node", {}, "0");
  xml.Leaf("block", {{"unit", "MiB"}}, std::to_string(kMemoryStepMib));
  xml.Leaf("requested", {{"unit", "MiB"}}, std::to_string(requested_mib));
  xml.Close();
  // libvirt finds the device by its address, and QEMU the size that is asked for by this.
  xml.Leaf("alias", {{"name", DeviceAlias(kMemoryDevice)}});
  xml.Leaf("address", {{"type", "pci"},
                       {"domain", "0x0000"},
                       {"bus", fmt::format("0x{:02x}", spec.root_ports + 1)},
                       {"slot", "0x00"},
                       {"function", "0x0"}});
  xml.Close();
  return xml.Finish();
}

}  // namespace kata::hypervisors
