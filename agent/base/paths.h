// SPDX-License-Identifier: Apache-2.0
// Fixed places in the guest.
#pragma once

namespace kata::agent {

inline constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
// All containers together.
inline constexpr char kContainersCgroup[] = "/sys/fs/cgroup/kata";
// Where their processes are set up, outside of each container's limits. No container's name begins
// with a dot.
inline constexpr char kSetUpCgroup[] = "/sys/fs/cgroup/kata/.setup";
// A directory of the guest's root that nothing is mounted on, for a mount namespace of one process.
inline constexpr char kMountPoint[] = "/mnt";
inline constexpr char kMemoryVolumes[] = "/run/kata-containers/memory";
// DIRECTORY/N: copies of volumes of the host that change.
inline constexpr char kMirrors[] = "/run/kata-containers/mirrors";
// DIRECTORY/CONTAINER/N: sockets that lead to the host.
inline constexpr char kHostSockets[] = "/run/kata-containers/sockets";

}  // namespace kata::agent
