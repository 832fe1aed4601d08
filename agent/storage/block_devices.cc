// SPDX-License-Identifier: Apache-2.0
#include "agent/storage/block_devices.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include <absl/strings/str_cat.h>

#include "agent/base/errors.h"
#include "agent/storage/storage.h"
#include "proto/base/status.h"

namespace kata::agent {
namespace {

absl::StatusOr<FoundDisk> LookAt(const v1::BlockDevice& device, const std::string& source) {
  struct stat info {};
  if (::stat(source.c_str(), &info) != 0) return SystemError(errno, absl::StrCat("looking at \"", source, "\""));
  FoundDisk found;
  found.path = device.path();
  found.host_major = device.host_major();
  found.host_minor = device.host_minor();
  found.source = source;
  found.major = major(info.st_rdev);
  found.minor = minor(info.st_rdev);
  return found;
}

}  // namespace

absl::Status RenumberDevices(const std::vector<FoundDisk>& disks, ContainerSpec& spec) {
  for (const FoundDisk& disk : disks) {
    const auto device = std::find_if(spec.devices.begin(), spec.devices.end(), [&disk](const Device& one) {
      return one.type == S_IFBLK && one.path == disk.path;
    });
    if (device == spec.devices.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("disk at \"", disk.path, "\": linux.devices has no block device there"));
    }
    device->source = disk.source;
    device->major = disk.major;
    device->minor = disk.minor;
  }
  // Each once: a number of the guest may be another disk's number on the host.
  for (DeviceRule& rule : spec.resources.device_rules) {
    const auto disk = std::find_if(disks.begin(), disks.end(), [&rule](const FoundDisk& one) {
      return rule.type == 'b' && rule.major == one.host_major && rule.minor == one.host_minor;
    });
    if (disk == disks.end()) continue;
    rule.major = disk->major;
    rule.minor = disk->minor;
  }
  return absl::OkStatus();
}

Co<absl::StatusOr<ContainerSpec>> WithBlockDevices(BlockDevices devices, Uevents* events, ContainerSpec spec) {
  if (devices.size() > kStoragesMax) {
    co_return absl::ResourceExhaustedError(absl::StrCat(devices.size(), " block devices: at most ", kStoragesMax));
  }
  std::vector<FoundDisk> disks;
  for (const v1::BlockDevice& device : devices) {
    auto source = co_await WaitForDisk(device.serial(), events);
    if (!source.ok()) co_return Annotate(source.status(), absl::StrCat("device \"", device.path(), "\""));
    CO_ASSIGN_OR_RETURN(FoundDisk disk, LookAt(device, *source));
    disks.push_back(std::move(disk));
  }
  CO_RETURN_IF_ERROR(RenumberDevices(disks, spec));
  co_return spec;
}

}  // namespace kata::agent
