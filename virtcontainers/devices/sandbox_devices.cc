// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/sandbox_devices.h"

#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {

absl::StatusOr<SandboxDevices::Key> SandboxDevices::KeyOf(const DiskFile& disk) {
  struct stat info {};
  if (::fstat(disk.file->get(), &info) != 0) return ErrnoStatus(errno, "looking at a disk");
  if (S_ISBLK(info.st_mode)) return Key(S_IFBLK, info.st_rdev, 0);
  return Key(S_IFREG, info.st_dev, info.st_ino);
}

Co<absl::StatusOr<std::string>> SandboxDevices::AttachDisk(std::string container_id, DiskFile disk) {
  auto self = shared_from_this();
  CO_ASSIGN_OR_RETURN(const Key key, KeyOf(disk));
  for (auto found = disks_.find(key); found != disks_.end(); found = disks_.find(key)) {
    if (found->second.busy != nullptr) {
      std::shared_ptr<Latch> busy = found->second.busy;
      co_await busy->Wait();
      continue;
    }
    if (found->second.file.is_read_only && !disk.is_read_only)
      co_return absl::FailedPreconditionError("another container of the pod has it, read-only");
    found->second.containers.insert(container_id);
    co_return found->second.serial;
  }
  if (!disk.is_claimed)
    co_return absl::FailedPreconditionError("it is in use on the host: mounted there, or given to another pod");
  Disk entry;
  entry.serial = absl::StrCat("disk-", next_++);
  entry.file = std::move(disk);
  entry.containers.insert(container_id);
  const std::string serial = entry.serial;
  disks_[key] = std::move(entry);
  absl::Status status = co_await PlugIn(key);
  if (!status.ok()) co_return status;
  co_return serial;
}

Co<absl::Status> SandboxDevices::PlugIn(Key key) {
  auto self = shared_from_this();
  auto busy = std::make_shared<Latch>(executor_);
  disks_[key].busy = busy;
  hypervisors::BlockDisk disk;
  disk.serial = disks_[key].serial;
  disk.file = disks_[key].file.file;
  disk.is_read_only = disks_[key].file.is_read_only;
  disk.is_temporary = disks_[key].file.is_temporary;
  disk.ways = ways_;
  hypervisors::Device device;
  device.id = disk.serial;
  device.kind = std::move(disk);
  absl::Status status = co_await hypervisor_->Attach(std::move(device));
  if (status.ok()) {
    disks_[key].busy = nullptr;
  } else {
    disks_.erase(key);
  }
  busy->Set();
  co_return status;
}

Co<absl::Status> SandboxDevices::TakeOut(Key key) {
  auto self = shared_from_this();
  auto busy = std::make_shared<Latch>(executor_);
  disks_[key].busy = busy;
  const std::string id = disks_[key].serial;
  absl::Status status = co_await hypervisor_->Detach(id);
  if (status.ok() || absl::IsNotFound(status)) {
    status = absl::OkStatus();
    disks_.erase(key);
  } else {
    disks_[key].busy = nullptr;
  }
  busy->Set();
  co_return status;
}

Co<absl::Status> SandboxDevices::DetachAllOf(std::string container_id) {
  auto self = shared_from_this();
  absl::Status first;
  std::vector<Key> keys;
  for (const auto& [key, disk] : disks_) {
    if (disk.containers.contains(container_id)) keys.push_back(key);
  }
  for (const Key& key : keys) {
    auto found = disks_.find(key);
    while (found != disks_.end() && found->second.busy != nullptr) {
      std::shared_ptr<Latch> busy = found->second.busy;
      co_await busy->Wait();
      found = disks_.find(key);
    }
    if (found == disks_.end() || !found->second.containers.contains(container_id)) continue;
    if (found->second.containers.size() > 1) {
      found->second.containers.erase(container_id);
      continue;
    }
    absl::Status status = co_await TakeOut(key);
    first.Update(status);
  }
  co_return first;
}

void SandboxDevices::ForgetAllOf(const std::string& container_id) {
  for (auto disk = disks_.begin(); disk != disks_.end();) {
    disk->second.containers.erase(container_id);
    // Who plugs it in or takes it out at this moment fails, and sees to it.
    const bool is_left = disk->second.containers.empty() && disk->second.busy == nullptr;
    disk = is_left ? disks_.erase(disk) : std::next(disk);
  }
}

}  // namespace kata::virtcontainers
