// SPDX-License-Identifier: Apache-2.0
// Open files for a disk that is plugged into a running machine. libvirt 9.0 hands none over there, so QEMU gets them by
// its add-fd, as a set with a number, and opens "/dev/fdset/NUMBER"; libvirt, which looks for a file of that name
// first, is called where there is one. Blocking.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "proto/base/fd.h"

namespace kata::hypervisors {

// QEMU's name for the set.
std::string FileSetPath(int number);

// What QEMU opens of a disk: one descriptor to read, with which it begins, and one to write unless it is read-only.
absl::StatusOr<std::vector<UniqueFd>> FilesForSet(int fd, bool is_read_only);

// Runs `job` in a thread that has a mount namespace with a file at the set's path, and ends with it.
absl::Status RunWithFileSetPath(int number, const std::function<absl::Status()>& job);

}  // namespace kata::hypervisors
