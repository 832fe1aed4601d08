// SPDX-License-Identifier: Apache-2.0
// Memory volumes of the sandbox: a tmpfs each below kMemoryVolumes, mounted for the first container that uses it and
// kept for the others. Their pages are charged to the containers that write them. Io thread only.
#pragma once

#include <absl/status/status.h>

#include "proto/schema/agent.pb.h"

namespace kata::agent {

// Volumes and directories of one container.
inline constexpr int kMemoryVolumesMax = 256;
inline constexpr int kVolumeDirectoriesMax = 256;

// Mounts what is not mounted yet and makes the directories that are missing. Containers may have put links in their
// place: none is followed.
absl::Status PrepareMemoryVolumes(const v1::CreateContainerRequest& request);

}  // namespace kata::agent
