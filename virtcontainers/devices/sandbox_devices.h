// SPDX-License-Identifier: Apache-2.0
// The devices that a sandbox plugs into its running machine: the one place that gives them ids and serials, knows which
// containers they are of, and takes them out again. Io thread only.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "hypervisors/hypervisor.h"
#include "proto/base/coro.h"
#include "virtcontainers/storage/disk_file.h"

namespace kata::virtcontainers {

class SandboxDevices : public std::enable_shared_from_this<SandboxDevices> {
 public:
  // `ways`: of all disks.
  SandboxDevices(asio::any_io_executor executor, std::shared_ptr<hypervisors::Hypervisor> hypervisor,
                 hypervisors::DiskWays ways = {})
      : executor_(std::move(executor)), hypervisor_(std::move(hypervisor)), ways_(ways) {}

  // Plugs a disk in for `container_id`; the result is its serial, by which the guest finds it, never used twice in a
  // machine. One that another container of the sandbox has is that one's; FailedPrecondition when somebody else on the
  // host has it, or when the sandbox has it read-only and it is to be written to. On failure nothing stays.
  Co<absl::StatusOr<std::string>> AttachDisk(std::string container_id, DiskFile disk);
  // Takes out all of a container's that no other one has, once the guest has unmounted them. What the guest does not
  // let go of stays counted, so that a later call tries again; the first error is returned.
  Co<absl::Status> DetachAllOf(std::string container_id);
  // The same once the machine has ended: nothing is to be taken out.
  void ForgetAllOf(const std::string& container_id);
  size_t count() const { return disks_.size(); }

 private:
  struct Disk {
    std::string serial;
    DiskFile file;  // open as long as the machine has it: nobody else on the host gets it
    std::set<std::string> containers;
    std::shared_ptr<Latch> busy;  // while it is plugged in or taken out
  };
  // What it is on the host: kind, file system or number, inode.
  using Key = std::tuple<mode_t, dev_t, ino_t>;
  static absl::StatusOr<Key> KeyOf(const DiskFile& disk);
  Co<absl::Status> PlugIn(Key key);
  Co<absl::Status> TakeOut(Key key);

  asio::any_io_executor executor_;
  std::shared_ptr<hypervisors::Hypervisor> hypervisor_;
  hypervisors::DiskWays ways_;
  std::map<Key, Disk> disks_;
  uint64_t next_ = 0;
};

}  // namespace kata::virtcontainers
