// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/guest_setup.h"

#include <string>
#include <variant>

#include "virtcontainers/sandbox/pod_holder.h"
#include "virtcontainers/share/shared_directory.h"
#include "virtcontainers/storage/scratch_disk.h"

namespace kata::virtcontainers {
namespace {

constexpr char kScratchDriver[] = "scratch";
// Of a root file system that nothing but mount points is made in.
constexpr char kMountPointsRoom[] = "size=1m";

void AddMemoryVolume(const MemoryVolume& volume, agent::v1::MemoryVolume& out) {
  agent::v1::Storage& storage = *out.mutable_storage();
  storage.set_fstype(volume.type);
  storage.set_source(volume.type);
  storage.set_mount_point(volume.GuestMountPoint());
  for (const std::string& option : volume.options) storage.add_options(option);
  for (const MemoryVolume::Directory& directory : volume.directories) {
    agent::v1::VolumeDirectory& entry = *out.add_directories();
    entry.set_path(directory.path);
    entry.set_mode(directory.mode);
    entry.set_uid(directory.uid);
    entry.set_gid(directory.gid);
  }
}

struct DiskWriter {
  const ContainerDisk& disk;
  agent::v1::CreateContainerRequest& request;

  void operator()(const MountedDisk& mounted) const {
    agent::v1::Storage& storage = *request.add_storages();
    storage.set_driver("blk");
    storage.set_fstype(mounted.type);
    storage.set_source(disk.serial);
    storage.set_mount_point(mounted.mount_point);
    for (const std::string& option : mounted.options) storage.add_options(option);
    if (!mounted.fs_group.has_value()) return;
    storage.mutable_fs_group()->set_gid(mounted.fs_group->gid);
    storage.mutable_fs_group()->set_is_always(mounted.fs_group->is_always);
  }
  void operator()(const LayerDisk& layer) const {
    agent::v1::Storage& storage = *request.add_storages();
    storage.set_driver("blk");
    storage.set_fstype(kLayerType);
    storage.set_source(disk.serial);
    storage.set_mount_point(layer.mount_point);
    storage.add_options("ro");
  }
  void operator()(const ScratchDisk& scratch) const {
    agent::v1::Storage& storage = *request.add_storages();
    storage.set_driver(kScratchDriver);
    storage.set_fstype(kScratchType);
    storage.set_source(disk.serial);
    storage.set_mount_point(scratch.mount_point);
    storage.set_lower(scratch.lower);
    for (const std::string& layer : scratch.layers) storage.add_layers(layer);
  }
  void operator()(const DiskNode& node) const {
    agent::v1::BlockDevice& device = *request.add_block_devices();
    device.set_serial(disk.serial);
    device.set_path(node.path);
    device.set_host_major(node.major);
    device.set_host_minor(node.minor);
  }
};

void AddLayeredRootfs(const LayeredRootfs& rootfs, agent::v1::CreateContainerRequest& request) {
  agent::v1::Storage& storage = *request.add_storages();
  storage.set_driver(kScratchDriver);
  storage.set_fstype("tmpfs");
  storage.add_options(kMountPointsRoom);
  storage.set_mount_point(rootfs.mount_point);
  for (const std::string& layer : rootfs.layers) storage.add_layers(layer);
}

}  // namespace

agent::v1::CreateSandboxRequest MakeSandboxRequest(const SandboxOptions& options, uint64_t share_files_max) {
  agent::v1::CreateSandboxRequest request;
  request.set_sandbox_id(options.id);
  request.set_hostname(options.hostname);
  request.set_share_files_max(share_files_max);
  if (options.pod.has_value()) {
    agent::v1::PodSettings* pod = request.mutable_pod();
    pod->set_is_held(NeedsHolder(*options.pod));
    if (!pod->is_held()) {
      for (const auto& [key, value] : options.pod->sysctls) (*pod->mutable_sysctls())[key] = value;
    }
  }
  agent::v1::Storage* storage = request.add_storages();
  const bool uses_9p = options.config.shared_fs == SharedFs::k9p;
  storage->set_fstype(uses_9p ? "9p" : "virtiofs");
  storage->set_source(kShareTag);
  storage->set_mount_point(kGuestShare);
  if (uses_9p) {
    storage->add_options("trans=virtio");
    storage->add_options("version=9p2000.L");
    storage->add_options("msize=524288");
    storage->add_options("cache=mmap");
  }
  return request;
}

agent::v1::CreateContainerRequest MakeContainerRequest(const ContainerMounts& mounts) {
  agent::v1::CreateContainerRequest request;
  request.set_container_id(mounts.options.id);
  request.set_spec_json(mounts.guest_spec);
  request.set_hook_state(mounts.hooks->GuestState());
  request.set_is_sandbox(mounts.options.is_sandbox);
  request.set_has_stdin(mounts.options.stdio.has_stdin);
  request.set_has_stdout(mounts.options.stdio.has_stdout);
  request.set_has_stderr(mounts.options.stdio.has_stderr);
  for (const MemoryVolume& volume : mounts.memory_volumes) AddMemoryVolume(volume, *request.add_memory_volumes());
  for (const ContainerDisk& disk : mounts.disks) std::visit(DiskWriter{disk, request}, disk.use);
  if (mounts.layered_rootfs.has_value()) AddLayeredRootfs(*mounts.layered_rootfs, request);
  for (const HostSocket& socket : mounts.sockets) {
    agent::v1::HostSocket& entry = *request.add_sockets();
    entry.set_mode(socket.mode);
    entry.set_uid(socket.uid);
    entry.set_gid(socket.gid);
  }
  return request;
}

}  // namespace kata::virtcontainers
