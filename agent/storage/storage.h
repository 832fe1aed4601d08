// SPDX-License-Identifier: Apache-2.0
// What the host has the agent mount: shares, memory volumes, and disks that are found by their serial. Io thread; a
// mount blocks it for as long as the file system needs.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <google/protobuf/repeated_field.h>

#include "agent/process/exit_table.h"
#include "agent/storage/uevents.h"
#include "proto/schema/agent.pb.h"

namespace kata::agent {

// For a disk that is being plugged in.
inline constexpr std::chrono::seconds kDiskTimeout{10};
inline constexpr int kStoragesMax = 192;  // of one request
inline constexpr char kSysBlock[] = "/sys/block";

// The device file of the disk with this serial; NotFound when there is none.
absl::StatusOr<std::string> FindDisk(const std::string& sys_block, const std::string& serial);

// The same for one that may be about to be plugged in: DeadlineExceeded after kDiskTimeout.
Co<absl::StatusOr<std::string>> WaitForDisk(std::string serial, Uevents* events);

// One without a driver: its source is there. The mount point is made when missing.
absl::Status MountStorage(const v1::Storage& storage);

using Storages = google::protobuf::RepeatedPtrField<v1::Storage>;
// Mounts all in order; on failure those before are unmounted. The result is the mount points.
Co<absl::StatusOr<std::vector<std::string>>> MountStorages(Storages storages, Uevents* events, ExitTable* exits);
// In reverse order; each whatever became of the others.
absl::Status UnmountStorages(const std::vector<std::string>& mount_points);

}  // namespace kata::agent
