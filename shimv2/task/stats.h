// SPDX-License-Identifier: Apache-2.0
// What Stats answers: the guest's numbers in the form of the host's own cgroup version
// (docs/shim-contract.md section 8). The numbers come from the guest: sums and products saturate, nothing here trusts
// them.
#pragma once

#include "proto/schema/agent.pb.h"
#include "proto/schema/metrics_v1.pb.h"
#include "proto/schema/wire.pb.h"

namespace kata::shimv2 {

enum class CgroupVersion { kV1, kV2 };

// Of this host, by the file system at /sys/fs/cgroup.
CgroupVersion HostCgroupVersion();

// What version 1 says where there is no limit: the largest multiple of a page that its counters hold. Callers show the
// machine's memory for anything as large.
inline constexpr uint64_t kV1NoLimit = 0x7ffffffffffff000;

// Pure. Every sub-message is there, also the empty ones: callers dereference them unchecked.
io::containerd::cgroups::v1::Metrics ToMetricsV1(const agent::v1::StatsContainerResponse& stats);
io::containerd::cgroups::v2::Metrics ToMetricsV2(const agent::v1::StatsContainerResponse& stats);
wire::Any StatsAny(const agent::v1::StatsContainerResponse& stats, CgroupVersion version);

}  // namespace kata::shimv2
