// SPDX-License-Identifier: Apache-2.0
// Disks that a container has as block devices: what its spec says of them by the host's number, it says by the guest's
// afterwards. Io thread only.
#pragma once

#include <string>

#include <absl/status/statusor.h>
#include <google/protobuf/repeated_field.h>

#include "agent/oci/spec.h"
#include "agent/storage/uevents.h"
#include "proto/schema/agent.pb.h"

namespace kata::agent {

// A disk of the guest, found.
struct FoundDisk {
  std::string path;  // of the container
  unsigned host_major = 0;
  unsigned host_minor = 0;
  std::string source;  // of the guest
  unsigned major = 0;
  unsigned minor = 0;
};

// InvalidArgument for one that the spec has no device for.
absl::Status RenumberDevices(const std::vector<FoundDisk>& disks, ContainerSpec& spec);

using BlockDevices = google::protobuf::RepeatedPtrField<v1::BlockDevice>;
// Waits for all and returns the spec with their numbers.
Co<absl::StatusOr<ContainerSpec>> WithBlockDevices(BlockDevices devices, Uevents* events, ContainerSpec spec);

}  // namespace kata::agent
