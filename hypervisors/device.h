// SPDX-License-Identifier: Apache-2.0
// What a machine can be given: at its start, in the spec's list, or while it runs, with Hypervisor::Attach. Value types
// without a back end's words; who owns ids, addresses and the undoing of them is the sandbox (virtcontainers).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "proto/base/fd.h"

namespace kata::hypervisors {

inline constexpr uint32_t kShareQueueSizeMax = 1024;

// A directory of the host, served by a running virtiofsd. The guest mounts it by `tag`. Needs the machine's memory to
// be shared, which it is when the spec's list has such a device.
struct VirtioFsShare {
  std::string tag;
  std::string socket;                        // vhost-user; owned by the machine's user
  uint32_t queue_size = kShareQueueSizeMax;  // a power of two
};

// The same through QEMU itself, with 9p; at start only, libvirt cannot plug it in.
struct NinePShare {
  std::string tag;
  std::string directory;
};

// What the host's page cache has to do with a disk. kDefault: it is used, and a flush of the guest's is done.
enum class DiskCache { kDefault, kWriteBack, kDirect, kUnsafe };
// How QEMU waits for the host. kNative needs kDirect; what is not to be kept has threads instead.
enum class DiskAio { kThreads, kNative, kIoUring };

struct DiskWays {
  DiskCache cache = DiskCache::kDefault;
  DiskAio aio = DiskAio::kThreads;
  bool is_on_scsi = false;  // even where a root port is free for it
};

// A raw image or block device of the host. The guest finds it by `serial`, never by its name or address.
struct BlockDisk {
  std::string serial;  // 1 to 20 characters of [A-Za-z0-9._-]: virtio-blk has no room for more
  // The open file or device: the machine's process gets this descriptor and needs no right to the path. Writable when
  // it was opened for writing.
  std::shared_ptr<const UniqueFd> file;
  bool is_read_only = false;
  bool is_temporary = false;  // nothing of it has to be kept: a flush of the guest's is not done
  DiskWays ways;
};

// A network card whose other end is a tap device. The tap is made by the caller, with IFF_MULTI_QUEUE, in the network
// namespace that the machine starts in, and lives as long as the caller or the machine's process has it open. It is
// taken for a macvtap exactly when there is a /dev/tapN of its index N, which is opened then.
struct NetworkCard {
  std::string tap;
  std::string mac;                 // aa:bb:cc:dd:ee:ff
  uint32_t queues = 2;             // pairs, 2 to kCardQueuesMax: a tap of a single queue cannot be held open by both
  bool is_served_by_qemu = false;  // never by the host's kernel (vhost-net)
};

inline constexpr uint32_t kCardQueuesMax = 16;

// The vsock of the host's kernel; at start only. Its address is chosen at start.
struct HostVsock {};

// The vsock of a running vhost-device-vsock; at start only.
struct VhostUserVsock {
  std::string socket;       // vhost-user; owned by the machine's user
  std::string host_socket;  // the one that the host connects to; the machine's user listens there
  int ready = -1;           // and a socket that listens for kAgentReadyPort; open as long as the machine
};

using DeviceKind = std::variant<VirtioFsShare, NinePShare, BlockDisk, NetworkCard, HostVsock, VhostUserVsock>;

struct Device {
  std::string id;  // 1 to 32 characters of [A-Za-z0-9-], one of a kind in its machine
  DeviceKind kind;
};

// True when another process than QEMU serves `device` and has to see the machine's memory.
bool NeedsSharedMemory(const Device& device);

}  // namespace kata::hypervisors
