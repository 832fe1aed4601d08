// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/domain_xml.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "hypervisors/libvirt/device_xml.h"
#include "hypervisors/libvirt/memory_device.h"
#include "hypervisors/libvirt/xml_writer.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

// libvirt cuts a cgroup's name at 64 characters, of which "qemu-embed-<8 digits>-1-" takes 22.
constexpr size_t kNameKept = 24;
constexpr size_t kNameMax = 41;
constexpr char kShortParent[] = "/run/kata-vm";
// Slots of the root complex: devices of the start from 1 on, root ports here, the vhost-user vsock at 0x1e.
constexpr uint32_t kRootPortSlot = 0x18;
constexpr uint32_t kPortsPerSlot = 8;
constexpr uint32_t kEmulatedVcpusRoom = 2;
constexpr uint32_t kTranslationsMib = 32;
static_assert(kRootPortsMax + 2 <= (0x1e - kRootPortSlot) * kPortsPerSlot);

// FNV-1a; a stable name, not a protection.
std::string Digest(const std::string& text) {
  uint64_t hash = 14695981039346656037u;
  for (unsigned char c : text) hash = (hash ^ c) * 1099511628211u;
  return fmt::format("{:016x}", hash);
}

bool IsAlnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

absl::StatusOr<std::string> ArchitectureOf(const std::string& emulator) {
  constexpr std::string_view kPrefix = "qemu-system-";
  const std::string base = emulator.substr(emulator.rfind('/') + 1);
  if (base.rfind(kPrefix, 0) != 0 || base.size() == kPrefix.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("emulator \"", emulator, "\": the name must be qemu-system-<architecture>"));
  }
  return base.substr(kPrefix.size());
}

// Free ports for devices that come later. Eight share a slot: each function costs a guest less than a slot of its own.
void WriteRootPorts(XmlWriter& xml, uint32_t count) {
  for (uint32_t port = 0; port < count; ++port) {
    xml.Open("controller", {{"type", "pci"}, {"index", std::to_string(port + 1)}, {"model", "pcie-root-port"}});
    const std::string slot = fmt::format("0x{:02x}", kRootPortSlot + port / kPortsPerSlot);
    const std::string function = fmt::format("0x{:x}", port % kPortsPerSlot);
    if (port % kPortsPerSlot == 0) {
      xml.Leaf("address", {{"type", "pci"},
                           {"domain", "0x0000"},
                           {"bus", "0x00"},
                           {"slot", slot},
                           {"function", function},
                           {"multifunction", "on"}});
    } else {
      xml.Leaf("address",
               {{"type", "pci"}, {"domain", "0x0000"}, {"bus", "0x00"}, {"slot", slot}, {"function", function}});
    }
    xml.Close();
  }
}

void WriteAgentPort(XmlWriter& xml, const MachinePaths& paths) {
  xml.Open("controller", {{"type", "virtio-serial"}, {"index", "0"}});
  xml.RootAddress();
  xml.Close();
  xml.Open("channel", {{"type", "unix"}});
  xml.Leaf("source", {{"mode", "bind"}, {"path", paths.agent_socket}});
  xml.Leaf("target", {{"type", "virtio"}, {"name", "org.kata.agent"}});
  xml.Close();
}

// Memory that the guest has freed goes back to the host within seconds, in pieces of 2 MiB.
void WriteBalloon(XmlWriter& xml) {
  xml.Open("memballoon", {{"model", "virtio"}, {"freePageReporting", "on"}});
  xml.RootAddress();
  xml.Close();
}

void WriteDevices(XmlWriter& xml, const VmSpec& spec, const MachinePaths& paths) {
  xml.Open("devices");
  xml.Leaf("emulator", {}, spec.emulator);
  xml.Leaf("controller", {{"type", "usb"}, {"model", "none"}});
  xml.Leaf("controller", {{"type", "pci"}, {"index", "0"}, {"model", "pcie-root"}});
  WriteRootPorts(xml, spec.root_ports + (CanGrowInMemory(spec) ? 1 : 0) + (spec.is_cloneable ? 1 : 0));
  if (AgentChannelOf(spec) == AgentChannel::kVirtioSerial) WriteAgentPort(xml, paths);
  xml.Open("serial", {{"type", "file"}});
  xml.Leaf("source", {{"path", paths.console_fifo}, {"append", "on"}});
  xml.Leaf("target", {{"port", "0"}});
  xml.Close();
  xml.Open("rng", {{"model", "virtio"}});
  xml.Leaf("backend", {{"model", "random"}}, "/dev/urandom");
  xml.RootAddress();
  xml.Close();
  WriteBalloon(xml);
  int index = 0;
  for (const Device& device : spec.devices) {
    if (spec.saved_state.empty() || !ComesLate(device))
      WriteDevice(xml, device, paths, DevicePlace::kRootComplex, index);
    ++index;
  }
  xml.Close();
}

void WriteArguments(XmlWriter& xml, const VmSpec& spec, const MachinePaths& paths) {
  std::vector<std::string> words;
  for (const Device& device : spec.devices) {
    for (std::string& word : DeviceArguments(device, paths)) words.push_back(std::move(word));
  }
  if (!spec.saved_state.empty()) words.insert(words.end(), {"-incoming", "defer"});
  if (words.empty()) return;
  xml.Open("qemu:commandline");
  for (const std::string& word : words) xml.Leaf("qemu:arg", {{"value", word}});
  xml.Close();
}

// With this capability libvirt reads back each of the CPU's 400 properties with a request of its own, half of the time
// of the whole create; without it, it asks for the feature words in one. Nothing here uses the answer. Only x86 has
// the second way.
void WriteCapabilities(XmlWriter& xml, const std::string& architecture) {
  if (architecture != "x86_64") return;
  xml.Open("qemu:capabilities");
  xml.Leaf("qemu:del", {{"capability", "cpu-unavailable-features"}});
  xml.Close();
}

// An emulator with room for one processor only translates the guest's locked instructions to plain ones: a barrier of
// the guest's drivers is none for the devices, which are other threads and processes, and a request or its answer is
// lost for good. With room for two it keeps them.
uint32_t RoomForVcpus(const VmSpec& spec, bool is_kvm) {
  return std::max({spec.vcpus, spec.vcpus_max, is_kvm ? 1 : kEmulatedVcpusRoom});
}

// QEMU 7.2 ends (an assertion) when a processor of an emulated machine is plugged in while its buffer of translations
// is nearly full: it has them all from the start, and the guest takes as many into use as it is to have.
void WriteVcpus(XmlWriter& xml, const VmSpec& spec, bool is_kvm) {
  const uint32_t room = RoomForVcpus(spec, is_kvm);
  xml.Leaf("vcpu", {{"placement", "static"}, {"current", std::to_string(is_kvm ? spec.vcpus : room)}},
           std::to_string(room));
}

// A machine that can grow in memory has to be one of nodes for libvirt, if only of one.
void WriteNode(XmlWriter& xml, const VmSpec& spec, bool is_kvm) {
  if (!CanGrowInMemory(spec)) return;
  xml.Open("numa");
  xml.Leaf("cell", {{"id", "0"},
                    {"cpus", absl::StrCat("0-", RoomForVcpus(spec, is_kvm) - 1)},
                    {"memory", std::to_string(spec.memory_mib)},
                    {"unit", "MiB"}});
  xml.Close();
}

// An emulator keeps what it has translated until its buffer is full, by default a gigabyte: each new process in the
// guest adds to it, and a machine that does little has filled it within minutes. The pod's cgroup on the host, which
// has room for the machine's memory and little more, would have it ended. A small one is no slower: what falls out is
// hardly asked for again, and memory that is used anew is in the processor's cache.
void WriteTranslations(XmlWriter& xml) {
  xml.Open("tcg");
  xml.Leaf("tb-cache", {{"unit", "MiB"}}, std::to_string(kTranslationsMib));
  xml.Close();
}

// QEMU's own default is a processor of 2003, on which the images of today's distributions do not run (x86-64-v2 and
// later). Under emulation all that QEMU can emulate is also the fastest: twice for string functions, but for the string
// instructions of the processor itself, which are emulated byte by byte and which libc takes where they are said to be
// fast (docs/performance.md).
void WriteCpu(XmlWriter& xml, const VmSpec& spec, const std::string& architecture, bool is_kvm) {
  if (architecture != "x86_64") return;
  xml.Open("cpu", {{"mode", is_kvm ? "host-passthrough" : "maximum"}, {"check", "none"}});
  if (!is_kvm) {
    for (const char* name : {"erms", "fsrm"}) xml.Leaf("feature", {{"policy", "disable"}, {"name", name}});
  }
  WriteNode(xml, spec, is_kvm);
  xml.Close();
}

void WriteGuestWords(XmlWriter& xml, const VmSpec& spec) {
  if (spec.guest_words.empty()) return;
  xml.Open("sysinfo", {{"type", "fwcfg"}});
  for (const auto& [name, value] : spec.guest_words) {
    xml.Leaf("entry", {{"name", absl::StrCat(kGuestWords, name)}}, value);
  }
  xml.Close();
}

absl::Status CheckDevices(const VmSpec& spec) {
  if (spec.root_ports > kRootPortsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a machine of ", spec.root_ports, " root ports: at most ", kRootPortsMax, " fit"));
  }
  if (spec.port_disk_threads > kPortDiskThreadsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a machine of ", spec.port_disk_threads, " threads for disks: at most ", kPortDiskThreadsMax));
  }
  std::set<std::string> ids;
  for (const Device& device : spec.devices) {
    RETURN_IF_ERROR(CheckDevice(device));
    if (!ids.insert(device.id).second) {
      return absl::InvalidArgumentError(absl::StrCat("two devices have the id \"", device.id, "\""));
    }
  }
  return absl::OkStatus();
}

}  // namespace

AgentChannel AgentChannelOf(const VmSpec& spec) {
  for (const Device& device : spec.devices) {
    if (std::holds_alternative<HostVsock>(device.kind)) return AgentChannel::kVsock;
    if (std::holds_alternative<VhostUserVsock>(device.kind)) return AgentChannel::kVhostUserVsock;
  }
  return AgentChannel::kVirtioSerial;
}

bool ComesLate(const Device& device) { return std::holds_alternative<VirtioFsShare>(device.kind); }

uint32_t LatePort(const VmSpec& spec) { return spec.root_ports + (CanGrowInMemory(spec) ? 1 : 0) + 1; }

std::string DomainName(const std::string& name) {
  bool is_plain = name.size() <= kNameMax && !name.empty() && name[0] != '-';
  std::string clean;
  for (char c : name) {
    const bool is_repeated_dash = c == '-' && !clean.empty() && clean.back() == '-';
    if (!IsAlnum(c) && (c != '-' || is_repeated_dash)) {
      is_plain = false;
      continue;
    }
    clean.push_back(c);
  }
  if (is_plain) return name;
  clean.resize(std::min(clean.size(), kNameKept));
  while (!clean.empty() && clean.back() == '-') clean.pop_back();
  while (!clean.empty() && clean.front() == '-') clean.erase(0, 1);
  return clean.empty() ? Digest(name) : clean + "-" + Digest(name);
}

MachinePaths::MachinePaths(const std::string& dir)
    : runtime_dir(dir),
      short_dir(std::string(kShortParent) + "/" + Digest(dir)),
      libvirt_root(short_dir + "/libvirt"),
      agent_socket(short_dir + "/agent.sock"),
      console_fifo(short_dir + "/console") {}

std::string MachinePaths::Shorten(const std::string& path) const {
  if (path.rfind(runtime_dir + "/", 0) != 0) return path;
  return short_dir + path.substr(runtime_dir.size());
}

absl::StatusOr<std::string> DomainXml(const VmSpec& spec, const MachinePaths& paths, bool is_kvm) {
  ASSIGN_OR_RETURN(const std::string architecture, ArchitectureOf(spec.emulator));
  RETURN_IF_ERROR(CheckDevices(spec));
  XmlWriter xml;
  xml.Open("domain", {{"type", is_kvm ? "kvm" : "qemu"}, {"xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0"}});
  xml.Leaf("name", {}, DomainName(spec.name));
  if (CanGrowInMemory(spec)) {
    xml.Leaf("maxMemory", {{"slots", "1"}, {"unit", "MiB"}}, std::to_string(spec.memory_mib + MemoryDeviceMib(spec)));
  }
  xml.Leaf("memory", {{"unit", "MiB"}}, std::to_string(spec.memory_mib));
  if (spec.is_cloneable || std::any_of(spec.devices.begin(), spec.devices.end(), &NeedsSharedMemory)) {
    xml.Open("memoryBacking");
    xml.Leaf("source", {{"type", "memfd"}});
    xml.Leaf("access", {{"mode", "shared"}});
    xml.Close();
  }
  WriteVcpus(xml, spec, is_kvm);
  const uint32_t disk_threads = (spec.has_disk_thread ? 1 : 0) + spec.port_disk_threads;
  if (disk_threads != 0) xml.Leaf("iothreads", {}, std::to_string(disk_threads));
  xml.Open("os");
  xml.Leaf("type", {{"arch", architecture}, {"machine", spec.machine_type}}, "hvm");
  if (!spec.firmware.empty()) xml.Leaf("loader", {{"readonly", "yes"}, {"type", "rom"}}, spec.firmware);
  xml.Leaf("kernel", {}, spec.kernel);
  xml.Leaf("initrd", {}, spec.initrd);
  xml.Leaf("cmdline", {}, spec.kernel_params);
  xml.Close();
  WriteGuestWords(xml, spec);
  xml.Open("features");
  xml.Leaf("acpi", {});
  if (architecture == "x86_64") xml.Leaf("apic", {});
  if (!is_kvm) WriteTranslations(xml);
  xml.Close();
  WriteCpu(xml, spec, architecture, is_kvm);
  xml.Leaf("clock", {{"offset", "utc"}});
  xml.Leaf("on_poweroff", {}, "destroy");
  xml.Leaf("on_reboot", {}, "destroy");
  xml.Leaf("on_crash", {}, "destroy");
  WriteDevices(xml, spec, paths);
  WriteArguments(xml, spec, paths);
  WriteCapabilities(xml, architecture);
  xml.Close();
  return xml.Finish();
}

}  // namespace kata::hypervisors
