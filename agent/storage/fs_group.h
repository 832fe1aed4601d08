// SPDX-License-Identifier: Apache-2.0
// Gives a volume's files to a group, as the kubelet does on the host for volumes that it mounts there.
#pragma once

#include <chrono>
#include <string>

#include "agent/process/exit_table.h"
#include "proto/schema/agent.pb.h"

namespace kata::agent {

// For all files of a volume; below the host's limit for making a container.
inline constexpr std::chrono::seconds kGroupTimeout{45};

// 0 or an errno. Follows no links, enters no mounts. Blocks for as long as there are files.
int ApplyGroup(const std::string& directory, const v1::FsGroup& group);

// The same in a process of its own, so that the agent goes on meanwhile. DeadlineExceeded after kGroupTimeout. Io
// thread only.
Co<absl::Status> GiveToGroup(std::string directory, v1::FsGroup group, ExitTable* exits);

}  // namespace kata::agent
