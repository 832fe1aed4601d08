// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/domain_xml.h"

#include <libxml/xmlwriter.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

// libvirt cuts a cgroup's name at 64 characters, of which "qemu-embed-<8 digits>-1-" takes 22.
constexpr size_t kNameKept = 24;
constexpr size_t kNameMax = 41;
constexpr char kShortParent[] = "/run/kata-vm";
// Out of the way of the addresses that are given from 1 on.
constexpr char kVsockAddress[] = "0x1e";

// FNV-1a; a stable name, not a protection.
std::string Digest(const std::string& text) {
  uint64_t hash = 14695981039346656037u;
  for (unsigned char c : text) hash = (hash ^ c) * 1099511628211u;
  return fmt::format("{:016x}", hash);
}

bool IsAlnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

const xmlChar* X(const char* text) { return reinterpret_cast<const xmlChar*>(text); }

using Attributes = std::initializer_list<std::pair<const char*, std::string>>;

// Writes elements and remembers the first failure.
class Writer {
 public:
  Writer() : buffer_(xmlBufferCreate(), &xmlBufferFree), writer_(nullptr, &xmlFreeTextWriter) {
    if (buffer_ != nullptr) writer_.reset(xmlNewTextWriterMemory(buffer_.get(), 0));
    if (writer_ != nullptr) xmlTextWriterSetIndent(writer_.get(), 1);
  }

  void Open(const char* name, Attributes attributes = {}) {
    Check(writer_ == nullptr ? -1 : xmlTextWriterStartElement(writer_.get(), X(name)));
    for (const auto& [key, value] : attributes) {
      if (!ok_) return;
      Check(xmlTextWriterWriteAttribute(writer_.get(), X(key), X(value.c_str())));
    }
  }
  void Close() {
    if (ok_) Check(xmlTextWriterEndElement(writer_.get()));
  }
  void Leaf(const char* name, Attributes attributes, const std::string& text = "") {
    Open(name, attributes);
    if (ok_ && !text.empty()) Check(xmlTextWriterWriteString(writer_.get(), X(text.c_str())));
    Close();
  }
  // An endpoint directly on the root complex: no root port to enumerate at boot.
  void RootAddress() {
    Leaf("address", {{"type", "pci"}, {"domain", "0x0000"}, {"bus", "0x00"},
                     {"slot", fmt::format("0x{:02x}", next_slot_++)}, {"function", "0x0"}});
  }
  absl::StatusOr<std::string> Finish() {
    if (ok_) Check(xmlTextWriterEndDocument(writer_.get()));
    if (ok_) Check(xmlTextWriterFlush(writer_.get()));
    if (!ok_) return absl::InternalError("write domain document: libxml2 failed");
    return std::string(reinterpret_cast<const char*>(xmlBufferContent(buffer_.get())));
  }

 private:
  void Check(int result) {
    if (result < 0) ok_ = false;
  }

  std::unique_ptr<xmlBuffer, decltype(&xmlBufferFree)> buffer_;
  std::unique_ptr<xmlTextWriter, decltype(&xmlFreeTextWriter)> writer_;
  int next_slot_ = 1;
  bool ok_ = true;
};

absl::StatusOr<std::string> ArchitectureOf(const std::string& emulator) {
  constexpr std::string_view kPrefix = "qemu-system-";
  const std::string base = emulator.substr(emulator.rfind('/') + 1);
  if (base.rfind(kPrefix, 0) != 0 || base.size() == kPrefix.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("emulator \"", emulator, "\": the name must be qemu-system-<architecture>"));
  }
  return base.substr(kPrefix.size());
}

void WriteShares(Writer& xml, const VmSpec& spec, const MachinePaths& paths) {
  if (!spec.virtiofs_socket.empty()) {
    xml.Open("filesystem", {{"type", "mount"}});
    xml.Leaf("driver", {{"type", "virtiofs"}, {"queue", "1024"}});
    xml.Leaf("source", {{"socket", paths.Shorten(spec.virtiofs_socket)}});
    xml.Leaf("target", {{"dir", spec.virtiofs_tag}});
    xml.RootAddress();
    xml.Close();
  }
  if (!spec.share_9p_dir.empty()) {
    xml.Open("filesystem", {{"type", "mount"}, {"accessmode", "passthrough"}, {"multidevs", "remap"}});
    xml.Leaf("source", {{"dir", spec.share_9p_dir}});
    xml.Leaf("target", {{"dir", spec.share_9p_tag}});
    xml.RootAddress();
    xml.Close();
  }
}

void WriteAgentChannel(Writer& xml, const VmSpec& spec, const MachinePaths& paths) {
  if (spec.agent_channel == AgentChannel::kVsock) {
    xml.Open("vsock", {{"model", "virtio"}});
    xml.Leaf("cid", {{"auto", "yes"}});
    xml.RootAddress();
    xml.Close();
  }
  if (spec.agent_channel != AgentChannel::kVirtioSerial) return;
  xml.Open("controller", {{"type", "virtio-serial"}, {"index", "0"}});
  xml.RootAddress();
  xml.Close();
  xml.Open("channel", {{"type", "unix"}});
  xml.Leaf("source", {{"mode", "bind"}, {"path", paths.agent_socket}});
  xml.Leaf("target", {{"type", "virtio"}, {"name", "org.kata.agent"}});
  xml.Close();
}

// libvirt has no words for a vhost-user vsock.
void WriteVhostUserVsock(Writer& xml, const VmSpec& spec, const MachinePaths& paths) {
  if (spec.agent_channel != AgentChannel::kVhostUserVsock) return;
  xml.Open("qemu:commandline");
  for (const std::string& word :
       {std::string("-chardev"), "socket,id=vsock,path=" + paths.Shorten(spec.vsock_socket), std::string("-device"),
        std::string("vhost-user-vsock-pci,chardev=vsock,bus=pcie.0,addr=") + kVsockAddress}) {
    xml.Leaf("qemu:arg", {{"value", word}});
  }
  xml.Close();
}

void WriteDevices(Writer& xml, const VmSpec& spec, const MachinePaths& paths) {
  xml.Open("devices");
  xml.Leaf("emulator", {}, spec.emulator);
  xml.Leaf("controller", {{"type", "usb"}, {"model", "none"}});
  xml.Leaf("controller", {{"type", "pci"}, {"index", "0"}, {"model", "pcie-root"}});
  WriteAgentChannel(xml, spec, paths);
  xml.Open("serial", {{"type", "file"}});
  xml.Leaf("source", {{"path", paths.console_fifo}, {"append", "on"}});
  xml.Leaf("target", {{"port", "0"}});
  xml.Close();
  xml.Open("rng", {{"model", "virtio"}});
  xml.Leaf("backend", {{"model", "random"}}, "/dev/urandom");
  xml.RootAddress();
  xml.Close();
  WriteShares(xml, spec, paths);
  xml.Leaf("memballoon", {{"model", "none"}});
  xml.Close();
}

// With this capability libvirt reads back each of the CPU's 400 properties with a request of its own, half of the time
// of the whole create; without it, it asks for the feature words in one. Nothing here uses the answer. Only x86 has
// the second way.
void WriteCapabilities(Writer& xml, const std::string& architecture) {
  if (architecture != "x86_64") return;
  xml.Open("qemu:capabilities");
  xml.Leaf("qemu:del", {{"capability", "cpu-unavailable-features"}});
  xml.Close();
}

}  // namespace

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
  Writer xml;
  xml.Open("domain", {{"type", is_kvm ? "kvm" : "qemu"},
                      {"xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0"}});
  xml.Leaf("name", {}, DomainName(spec.name));
  xml.Leaf("memory", {{"unit", "MiB"}}, std::to_string(spec.memory_mib));
  // A device that another process serves needs the guest's memory.
  if (!spec.virtiofs_socket.empty() || spec.agent_channel == AgentChannel::kVhostUserVsock) {
    xml.Open("memoryBacking");
    xml.Leaf("source", {{"type", "memfd"}});
    xml.Leaf("access", {{"mode", "shared"}});
    xml.Close();
  }
  xml.Leaf("vcpu", {{"placement", "static"}}, std::to_string(spec.vcpus));
  xml.Open("os");
  xml.Leaf("type", {{"arch", architecture}, {"machine", spec.machine_type}}, "hvm");
  if (!spec.firmware.empty()) xml.Leaf("loader", {{"readonly", "yes"}, {"type", "rom"}}, spec.firmware);
  xml.Leaf("kernel", {}, spec.kernel);
  xml.Leaf("initrd", {}, spec.initrd);
  xml.Leaf("cmdline", {}, spec.kernel_params);
  xml.Close();
  xml.Open("features");
  xml.Leaf("acpi", {});
  if (architecture == "x86_64") xml.Leaf("apic", {});
  xml.Close();
  xml.Leaf("clock", {{"offset", "utc"}});
  xml.Leaf("on_poweroff", {}, "destroy");
  xml.Leaf("on_reboot", {}, "destroy");
  xml.Leaf("on_crash", {}, "destroy");
  WriteDevices(xml, spec, paths);
  WriteVhostUserVsock(xml, spec, paths);
  WriteCapabilities(xml, architecture);
  xml.Close();
  return xml.Finish();
}

}  // namespace kata::hypervisors
