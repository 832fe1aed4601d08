// SPDX-License-Identifier: Apache-2.0
// Fixed places in the guest.
#pragma once

namespace kata::agent {

inline constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
inline constexpr char kContainersCgroup[] = "/sys/fs/cgroup/kata";

}  // namespace kata::agent
