// SPDX-License-Identifier: Apache-2.0
// The limits of the spec's `linux.resources` as values of cgroup (version 2) files, and how they
// are set. Only what the document names is written. Io thread only: short reads and writes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "agent/oci/spec.h"

namespace kata::agent {

// cpu.weight (1-10000) of cgroup v1 shares (2-262144); 0 stays 0, which means unset.
uint64_t CpuWeightOfShares(uint64_t shares);
// io.weight (1-10000) of a blkio weight (10-1000).
uint64_t IoWeightOfBlockWeight(uint64_t weight);

// One write. Files of one value per device are written once per device.
struct CgroupValue {
  std::string file;
  std::string value;
  std::string limit;  // its name in the spec, for errors
  // What a missing file means to a container being created, and to one being updated.
  bool may_lack_at_create = false;
  bool may_lack_at_update = false;
  // It names a device by the host's number: one that the guest does not have is passed over.
  bool is_of_device = false;
};

// What new values are computed against; the defaults are those of a new cgroup.
struct CgroupNow {
  std::optional<int64_t> cpu_quota;  // none: unlimited
  uint64_t cpu_period = 100000;
  std::optional<uint64_t> memory_limit;  // none: unlimited
  bool has_bfq_weight = false;
  bool has_hugepage_reservations = false;
  std::vector<unsigned> cpus, mems;  // of the guest; empty: not known
};
CgroupNow ReadCgroupNow(const std::string& cgroup);

// In the order in which they must be written.
absl::StatusOr<std::vector<CgroupValue>> CgroupValues(const Resources& resources, const CgroupNow& now);

// For a new cgroup, whose maker removes it after an error.
absl::Status SetLimits(const std::string& cgroup, const Resources& resources);
// For one in use: everything is checked first, and what was written is put back after a failure.
// InvalidArgument for a limit that the guest does not have; FailedPrecondition for a memory limit
// below what is used, since the kernel would kill for it. Device rules are not looked at, as runc.
absl::Status UpdateLimits(const std::string& cgroup, const Resources& resources);

}  // namespace kata::agent
