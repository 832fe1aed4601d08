// SPDX-License-Identifier: Apache-2.0
// The devices that a sandbox plugs into its running machine: the one place that gives them ids and serials, knows which
// container they are of, and takes them out again. Io thread only.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "hypervisors/hypervisor.h"
#include "proto/base/coro.h"

namespace kata::virtcontainers {

class SandboxDevices : public std::enable_shared_from_this<SandboxDevices> {
 public:
  explicit SandboxDevices(std::shared_ptr<hypervisors::Hypervisor> hypervisor) : hypervisor_(std::move(hypervisor)) {}

  // Plugs a disk in for `container_id`; the result is its serial, by which the guest finds it, never used twice in a
  // machine. The file's descriptor stays open as long as the disk is there. On failure nothing stays.
  Co<absl::StatusOr<std::string>> AttachDisk(std::string container_id, std::shared_ptr<const UniqueFd> file,
                                             bool is_read_only);
  // Takes out all of a container's, once the guest has unmounted them. What the guest does not let go of stays counted,
  // so that a later call tries again; the first error is returned.
  Co<absl::Status> DetachAllOf(std::string container_id);
  size_t count() const;

 private:
  std::shared_ptr<hypervisors::Hypervisor> hypervisor_;
  std::map<std::string, std::set<std::string>> of_container_;  // ids
  uint64_t next_ = 0;
};

}  // namespace kata::virtcontainers
