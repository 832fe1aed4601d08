// SPDX-License-Identifier: Apache-2.0
#include "hypervisors/libvirt/device_xml.h"

#include <sys/stat.h>

#include <algorithm>
#include <string_view>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <fmt/format.h>

#include "hypervisors/libvirt/file_set.h"
#include "proto/base/status.h"

namespace kata::hypervisors {
namespace {

constexpr size_t kIdSizeMax = 32;
constexpr size_t kSerialSizeMax = 20;
constexpr int kFirstFileSet = 1000;  // libvirt counts its own from 0
// Out of the way of the addresses that are given from 1 on.
constexpr char kVsockAddress[] = "0x1e";
// The virtiofsd of QEMU says up to where it has read a queue and looks for more without a barrier in between, as of
// QEMU 7.2: a request that comes at that moment is not seen, and with event indices no later one is announced either.
// The queue stands still for good (seen in the queue of files that the guest forgets, within a minute of walking and
// forgetting). Without them the guest announces each request.
constexpr char kNoEventIndex[] = "vhost-user-fs-device.event_idx=off";

bool IsMadeOf(const std::string& text, size_t size_max, std::string_view marks) {
  return !text.empty() && text.size() <= size_max && std::all_of(text.begin(), text.end(), [marks](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || marks.find(c) != std::string_view::npos;
  });
}

// vda, … vdz, vdaa, …, or sda, …: libvirt wants a name; the guest does not hear of it.
std::string TargetName(const char* kind, int index) {
  std::string letters;
  for (int rest = index + 1; rest > 0; rest = (rest - 1) / 26) {
    letters.insert(letters.begin(), static_cast<char>('a' + (rest - 1) % 26));
  }
  return kind + letters;
}

bool IsBlockDevice(int fd) {
  struct stat info = {};
  return fstat(fd, &info) == 0 && S_ISBLK(info.st_mode);
}

const char* WordOf(DiskCache cache) {
  switch (cache) {
    case DiskCache::kDirect:
      return "none";
    case DiskCache::kUnsafe:
      return "unsafe";
    case DiskCache::kDefault:
    case DiskCache::kWriteBack:
      break;
  }
  return "writeback";
}

class ElementWriter {
 public:
  ElementWriter(XmlWriter& xml, const Device& device, const MachinePaths& paths, DevicePlace place, int index,
                uint32_t port, uint32_t thread)
      : xml_(xml), device_(device), paths_(paths), place_(place), index_(index), port_(port), thread_(thread) {}

  void operator()(const VirtioFsShare& share) {
    xml_.Open("filesystem", {{"type", "mount"}});
    xml_.Leaf("driver", {{"type", "virtiofs"}, {"queue", std::to_string(share.queue_size)}});
    xml_.Leaf("source", {{"socket", paths_.Shorten(share.socket)}});
    xml_.Leaf("target", {{"dir", share.tag}});
    Finish();
  }
  void operator()(const NinePShare& share) {
    xml_.Open("filesystem", {{"type", "mount"}, {"accessmode", "passthrough"}, {"multidevs", "remap"}});
    xml_.Leaf("source", {{"dir", share.directory}});
    xml_.Leaf("target", {{"dir", share.tag}});
    Finish();
  }
  void operator()(const BlockDisk& disk) {
    const bool is_device = IsBlockDevice(disk.file->get());
    xml_.Open("disk", {{"type", is_device ? "block" : "file"}, {"device", "disk"}});
    WriteDriver(disk);
    const char* kind = is_device ? "dev" : "file";
    if (place_ != DevicePlace::kRootComplex) {
      xml_.Leaf("source", {{kind, FileSetPath(FileSetOf(index_))}});
    } else {
      // libvirt wants a path beside the descriptor's name and does not open it.
      const std::string path = absl::StrCat(paths_.runtime_dir, "/", device_.id);
      xml_.Leaf("source", {{kind, path}, {"fdgroup", FileGroup(device_.id)}});
    }
    const bool is_scsi = place_ == DevicePlace::kScsi;
    xml_.Leaf("target", {{"dev", TargetName(is_scsi ? "sd" : "vd", index_)}, {"bus", is_scsi ? "scsi" : "virtio"}});
    if (disk.is_read_only) xml_.Leaf("readonly", {});
    xml_.Leaf("serial", {}, disk.serial);
    Finish();
  }
  void operator()(const NetworkCard& card) {
    xml_.Open("interface", {{"type", "ethernet"}});
    xml_.Leaf("mac", {{"address", card.mac}});
    xml_.Leaf("target", {{"dev", card.tap}, {"managed", "no"}});
    xml_.Leaf("model", {{"type", "virtio"}});
    // Without a name: vhost-net where there is KVM and /dev/vhost-net, else QEMU itself.
    XmlWriter::Attributes driver;
    if (card.is_served_by_qemu) driver.emplace_back("name", "qemu");
    driver.emplace_back("queues", absl::StrCat(card.queues));
    xml_.Leaf("driver", driver);
    xml_.Leaf("rom", {{"enabled", "no"}});
    Finish();
  }
  void operator()(const HostVsock&) {
    xml_.Open("vsock", {{"model", "virtio"}});
    xml_.Leaf("cid", {{"auto", "yes"}});
    Finish();
  }
  void operator()(const VhostUserVsock&) {}

 private:
  // An error is told to the guest. QEMU's own way for a full host is to stop the machine until somebody has made room
  // and says so, who is not there.
  void WriteDriver(const BlockDisk& disk) {
    XmlWriter::Attributes words = {{"name", "qemu"},
                                   {"type", "raw"},
                                   {"error_policy", "report"},
                                   {"rerror_policy", "report"},
                                   {"discard", "unmap"}};
    const DiskCache cache = disk.is_temporary ? DiskCache::kUnsafe : disk.ways.cache;
    if (cache != DiskCache::kDefault) words.emplace_back("cache", WordOf(cache));
    const bool can_be_native = cache == DiskCache::kDirect;
    if (disk.ways.aio == DiskAio::kIoUring) words.emplace_back("io", "io_uring");
    if (disk.ways.aio == DiskAio::kNative && can_be_native) words.emplace_back("io", "native");
    if (thread_ != 0 && place_ != DevicePlace::kScsi) words.emplace_back("iothread", std::to_string(thread_));
    xml_.Leaf("driver", words);
  }

  void Finish() {
    xml_.Leaf("alias", {{"name", DeviceAlias(device_.id)}});
    if (place_ == DevicePlace::kRootComplex) xml_.RootAddress();
    if (place_ == DevicePlace::kScsi) {
      xml_.Leaf(
          "address",
          {{"type", "drive"}, {"controller", "0"}, {"bus", "0"}, {"target", "0"}, {"unit", absl::StrCat(index_)}});
    }
    if (port_ != 0) {
      xml_.Leaf("address", {{"type", "pci"},
                            {"domain", "0x0000"},
                            {"bus", fmt::format("0x{:02x}", port_)},
                            {"slot", "0x00"},
                            {"function", "0x0"}});
    }
    xml_.Close();
  }

  XmlWriter& xml_;
  const Device& device_;
  const MachinePaths& paths_;
  DevicePlace place_;
  int index_;
  uint32_t port_;
  uint32_t thread_;
};

}  // namespace

bool NeedsSharedMemory(const Device& device) {
  return std::holds_alternative<VirtioFsShare>(device.kind) || std::holds_alternative<VhostUserVsock>(device.kind);
}

absl::Status CheckDevice(const Device& device) {
  if (!IsMadeOf(device.id, kIdSizeMax, "-")) {
    return absl::InvalidArgumentError(
        absl::StrCat("device \"", device.id, "\": its id must be 1 to ", kIdSizeMax, " characters of [A-Za-z0-9-]"));
  }
  const auto* disk = std::get_if<BlockDisk>(&device.kind);
  if (disk == nullptr) return absl::OkStatus();
  if (!IsMadeOf(disk->serial, kSerialSizeMax, "._-")) {
    return absl::InvalidArgumentError(absl::StrCat("device \"", device.id, "\": serial \"", disk->serial,
                                                   "\" must be 1 to ", kSerialSizeMax,
                                                   " characters of [A-Za-z0-9._-]"));
  }
  if (disk->file == nullptr || !disk->file->valid()) {
    return absl::InvalidArgumentError(absl::StrCat("device \"", device.id, "\": its file is not open"));
  }
  return absl::OkStatus();
}

void WriteDevice(XmlWriter& xml, const Device& device, const MachinePaths& paths, DevicePlace place, int index,
                 uint32_t port, uint32_t thread) {
  std::visit(ElementWriter(xml, device, paths, place, index, port, thread), device.kind);
}

std::vector<std::string> DeviceArguments(const Device& device, const MachinePaths& paths) {
  // -global: it holds for a share that is attached later as well.
  if (std::holds_alternative<VirtioFsShare>(device.kind)) return {"-global", kNoEventIndex};
  const auto* vsock = std::get_if<VhostUserVsock>(&device.kind);
  if (vsock == nullptr) return {};
  return {"-chardev", absl::StrCat("socket,id=", device.id, ",path=", paths.Shorten(vsock->socket)), "-device",
          absl::StrCat("vhost-user-vsock-pci,chardev=", device.id, ",bus=pcie.0,addr=", kVsockAddress)};
}

absl::StatusOr<std::string> DeviceXml(const Device& device, const MachinePaths& paths, int index, DevicePlace place,
                                      uint32_t port, uint32_t thread) {
  RETURN_IF_ERROR(CheckDevice(device));
  if (!std::holds_alternative<VirtioFsShare>(device.kind) && !std::holds_alternative<BlockDisk>(device.kind) &&
      !std::holds_alternative<NetworkCard>(device.kind)) {
    return absl::FailedPreconditionError("a device of this kind comes with the machine's start only");
  }
  XmlWriter xml;
  WriteDevice(xml, device, paths, place, index, port, thread);
  return xml.Finish();
}

absl::StatusOr<std::string> ScsiControllerXml(uint32_t thread) {
  XmlWriter xml;
  xml.Open("controller", {{"type", "scsi"}, {"index", "0"}, {"model", "virtio-scsi"}});
  if (thread != 0) xml.Leaf("driver", {{"iothread", std::to_string(thread)}});
  xml.Close();
  return xml.Finish();
}

uint32_t DiskThread(const VmSpec& spec, DevicePlace place, int index) {
  const uint32_t shared = spec.has_disk_thread ? 1 : 0;
  if (place == DevicePlace::kScsi || spec.port_disk_threads == 0) return shared;
  return shared + 1 + static_cast<uint32_t>(index) % spec.port_disk_threads;
}

int FileSetOf(int index) { return kFirstFileSet + index; }

std::string DeviceAlias(const std::string& id) { return absl::StrCat("ua-", id); }

std::string FileGroup(const std::string& id) { return absl::StrCat("file-", id); }

int FileOf(const Device& device) {
  const auto* disk = std::get_if<BlockDisk>(&device.kind);
  return disk == nullptr ? -1 : disk->file->get();
}

}  // namespace kata::hypervisors
