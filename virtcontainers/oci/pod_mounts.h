// SPDX-License-Identifier: Apache-2.0
// What the containers of a pod share without any of them bringing it: files of /etc, and the shared memory that goes
// with the pod's ipc namespace. Pure.
#pragma once

#include <memory>
#include <string>

#include "virtcontainers/oci/document.h"

namespace kata::virtcontainers {

inline constexpr char kSharedMemory[] = "/dev/shm";
// Of PodSettings::etc_directory.
inline constexpr const char* kPodFiles[] = {"hostname", "hosts", "resolv.conf"};

// `document` with the files of `etc_directory` (empty: none) in /etc, but for those that it mounts itself, read-only
// where its root is. A tmpfs at /dev/shm becomes a bind of kSharedMemory, unless the container has an ipc namespace of
// its own.
std::shared_ptr<const OciDocument> WithPodMounts(const OciDocument& document, const std::string& etc_directory);

}  // namespace kata::virtcontainers
