// SPDX-License-Identifier: Apache-2.0
// Root file systems whose layers are each an erofs image that the host has mounted (containerd's erofs snapshotter):
// the machine gets the images as disks and puts them together itself, so that a file of the image is read without a
// word with the host. Blocking; pool threads.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "virtcontainers/container.h"
#include "virtcontainers/storage/mountinfo.h"

namespace kata::virtcontainers {

// More are for the host to put together. The agent takes no more either.
inline constexpr size_t kImageLayersMax = 64;
inline constexpr char kLayerType[] = "erofs";

struct ImageLayers {
  std::vector<std::string> images;  // files of the host, the topmost layer's first
  bool is_written = false;          // there is a directory for writes, empty as yet
};

// Of a container that writes nothing to its own: what the agent mounts, and where all together.
struct LayeredRootfs {
  std::vector<std::string> layers;
  std::string mount_point;
};

// Whether `list` may be such a one, without a look at the host.
bool MayBeLayers(const std::vector<RootfsMount>& list);
// What `list`, which Create gives, consists of; nothing where it is anything else than an overlay of such mounts, where
// something was written to it already, and where the guest's kernel cannot mount an image of them all: these are for
// the host (share/rootfs_mounts.h), which also says what is wrong with them. `mounts`: the host's.
std::optional<ImageLayers> FindImageLayers(const std::vector<RootfsMount>& list, const std::vector<MountEntry>& mounts);
// The same with this thread's mounts, which are looked at only where it is likely.
std::optional<ImageLayers> FindImageLayers(const std::vector<RootfsMount>& list);

}  // namespace kata::virtcontainers
