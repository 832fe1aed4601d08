// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/sandbox_devices.h"

#include <vector>

#include <absl/strings/str_cat.h>

#include "proto/base/status.h"

namespace kata::virtcontainers {

Co<absl::StatusOr<std::string>> SandboxDevices::AttachDisk(std::string container_id,
                                                           std::shared_ptr<const UniqueFd> file, bool is_read_only) {
  auto self = shared_from_this();
  hypervisors::BlockDisk disk;
  disk.serial = absl::StrCat("disk-", next_++);
  disk.file = std::move(file);
  disk.is_read_only = is_read_only;
  const std::string serial = disk.serial;
  hypervisors::Device device{serial, std::move(disk)};
  absl::Status status = co_await hypervisor_->Attach(std::move(device));
  if (!status.ok()) co_return status;
  of_container_[container_id].insert(serial);
  co_return serial;
}

Co<absl::Status> SandboxDevices::DetachAllOf(std::string container_id) {
  auto self = shared_from_this();
  absl::Status first;
  auto found = of_container_.find(container_id);
  if (found == of_container_.end()) co_return first;
  const std::vector<std::string> ids(found->second.begin(), found->second.end());
  for (const std::string& id : ids) {
    absl::Status status = co_await hypervisor_->Detach(id);
    if (status.ok() || absl::IsNotFound(status)) {
      of_container_[container_id].erase(id);
    } else {
      first.Update(status);
    }
  }
  found = of_container_.find(container_id);
  if (found != of_container_.end() && found->second.empty()) of_container_.erase(found);
  co_return first;
}

size_t SandboxDevices::count() const {
  size_t count = 0;
  for (const auto& [container, ids] : of_container_) count += ids.size();
  return count;
}

}  // namespace kata::virtcontainers
