// SPDX-License-Identifier: Apache-2.0
// The host's part of one container: its rootfs and volumes in the share, its spec as the guest gets
// it. Nothing of it is mounted in the host's namespace, a rootfs of Create's list included: on the
// host <bundle>/rootfs stays an empty directory. Blocking; pool threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "virtcontainers/config/config.h"
#include "virtcontainers/container.h"
#include "virtcontainers/container/host_hooks.h"
#include "virtcontainers/devices/container_disk.h"
#include "virtcontainers/devices/image_layers.h"
#include "virtcontainers/mirrors/mirrors.h"
#include "virtcontainers/oci/host_namespaces.h"
#include "virtcontainers/oci/spec.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/share/share_namespace.h"
#include "virtcontainers/share/shared_volumes.h"
#include "virtcontainers/size/container_limits.h"
#include "virtcontainers/sockets/host_socket.h"
#include "virtcontainers/storage/memory_volume.h"

namespace kata::virtcontainers {

struct ContainerMounts {
  std::string sandbox_id;
  ContainerOptions options;
  HostNamespaceRules host_namespaces;
  bool uses_disks = true;  // not disable_block_device_use
  RootfsWrites rootfs_writes = RootfsWrites::kShare;
  std::string scratch_directory;  // rootfs_disk_path
  uint32_t scratch_mib = 0;
  std::optional<ImageLayers> layers;  // of its rootfs, where the guest can have them
  SocketRules socket_rules;
  std::shared_ptr<const ShareNamespace> share;
  std::shared_ptr<SharedVolumes> volumes;
  std::shared_ptr<Mirrors> mirrors;
  bool is_pod = false;                                          // the sandbox has PodSettings
  std::string pod_etc_directory;                                // of these
  std::string guest_spec;                                       // filled by Prepare
  std::vector<GuestSpec::ProcessNamespace> process_namespaces;  // as well
  std::optional<int> oom_score;                                 // as well
  ContainerLimits limits;                                       // as well; none of a sandbox container
  std::vector<MemoryVolume> memory_volumes;
  std::vector<ContainerDisk> disks;  // opened by Prepare, not plugged in
  std::optional<LayeredRootfs> layered_rootfs;
  std::vector<HostSocket> sockets;  // of the host that its mounts name; their owners as the container sees them
  std::shared_ptr<const HostHooks> hooks;
};

absl::Status PrepareContainer(ContainerMounts& mounts);
// Undoes also a half-made one, and runs its last hooks. Idempotent.
absl::Status UndoContainer(const ContainerMounts& mounts);

}  // namespace kata::virtcontainers
