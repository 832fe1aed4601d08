// SPDX-License-Identifier: Apache-2.0
// What a sandbox shows its guest: mounts are made in <shared>/rw, which virtiofsd exports through
// <shared>/ro, a read-only view that follows them. The guest sees it at kGuestShare. All of it is
// in the sandbox's mount namespace; on the host <shared> is an empty directory. Blocking; pool
// threads.
#pragma once

#include <sys/types.h>

#include <string>

#include <absl/status/status.h>

namespace kata::virtcontainers {

inline constexpr char kShareTag[] = "kataShared";
inline constexpr char kGuestShare[] = "/run/kata-containers/shared";

// In the sandbox's namespace. Closed to everybody but root and `owner` (the user that reads it:
// QEMU's for 9p, else root).
absl::Status MakeSharedDirectory(const std::string& sandbox_id, uid_t owner);
// On the host: removes the directory. Idempotent.
absl::Status RemoveSharedDirectory(const std::string& sandbox_id);
std::string ExportedDirectory(const std::string& sandbox_id);
// Host directory of one container below rw; `ContainerGuestPath` is the same place in the guest.
std::string ContainerHostPath(const std::string& sandbox_id, const std::string& container_id);
std::string ContainerGuestPath(const std::string& container_id);
// Follows no links, enters no mounts. Idempotent.
absl::Status RemoveTree(const std::string& directory);

}  // namespace kata::virtcontainers
