// SPDX-License-Identifier: Apache-2.0
// Carries libvirt's capability files between a host-wide directory and the root of one machine, so that an emulator
// is probed once per host and not once per sandbox. libvirt itself checks that a file still fits the emulator.
// Blocking; safe between processes (a lock file; files appear whole).
#pragma once

#include <string>

#include <absl/status/statusor.h>

namespace kata::hypervisors {

// Copies the cached files below `libvirt_root`; the number of files.
absl::StatusOr<int> SeedCapabilities(const std::string& cache_dir, const std::string& libvirt_root);
// Copies files back which the host-wide directory does not have with the same content.
absl::Status StoreCapabilities(const std::string& cache_dir, const std::string& libvirt_root);

}  // namespace kata::hypervisors
