// SPDX-License-Identifier: Apache-2.0
// The runtime's configuration: TOML with Kata's key names, plus config.d/*.toml drop-ins beside the file. Unknown keys,
// keys of Kata's that do not apply here and bad values are errors that name file, line and what to do, all of them at
// once. Any thread; value type. What a key means, its range and who may set it stands in one table, keys.cc; what
// becomes of Kata's other keys in kata_keys.cc.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "hypervisors/hypervisor.h"

namespace kata::virtcontainers {

enum class SharedFs { kVirtioFs, k9p };
// Where what a container writes to its root file system goes.
enum class RootfsWrites { kAuto, kShare, kDisk };
enum class NetworkModel { kTcFilter, kMacvtap, kNone };
// Of a namespace of the host that a container asks for.
enum class HostNamespace { kRefuse, kMachine };
enum class AgentTransport { kAuto, kVsock, kVirtioSerial, kVhostUserVsock };

// With the defaults: what an empty file means. "@PREFIX@" is replaced while a file is read.
struct Config {
  std::string file;    // where it was read from
  std::string prefix;  // of the installation
  // [hypervisor.qemu]
  std::string path = "/usr/bin/qemu-system-x86_64";
  std::string kernel = "@PREFIX@/share/kata-containers/vmlinux";
  std::string initrd = "@PREFIX@/share/kata-containers/kata-initrd.img";
  std::string machine_type = "q35";
  std::string firmware = "/usr/share/qemu/qboot.rom";
  std::string kernel_params;
  hypervisors::Accelerator accelerator = hypervisors::Accelerator::kAuto;
  uint32_t default_vcpus = 1;
  uint32_t default_memory = 512;   // MiB
  uint32_t default_maxvcpus = 8;   // 0: the host's
  uint32_t default_maxmemory = 0;  // MiB; 0: the host's
  uint32_t overhead_memory = 160;  // MiB
  uint32_t pcie_root_port = 4;
  bool disable_block_device_use = false;
  RootfsWrites rootfs_writes = RootfsWrites::kAuto;
  uint32_t rootfs_disk_size = 10240;  // MiB
  std::string rootfs_disk_path = "/var/lib/kata-containers/disks";
  bool is_disk_on_scsi = false;  // block_device_driver
  hypervisors::DiskAio block_device_aio = hypervisors::DiskAio::kThreads;
  bool block_device_cache_set = false;
  bool block_device_cache_direct = false;
  bool block_device_cache_noflush = false;
  bool enable_iothreads = false;
  uint32_t indep_iothreads = 0;
  bool disable_vhost_net = false;
  bool has_console_log = false;  // enable_debug
  SharedFs shared_fs = SharedFs::kVirtioFs;
  std::string virtio_fs_daemon;  // empty: where distributions put it
  std::string virtio_fs_cache = "auto";
  uint32_t virtio_fs_queue_size = hypervisors::kShareQueueSizeMax;
  std::vector<std::string> virtio_fs_extra_args;
  AgentTransport agent_transport = AgentTransport::kAuto;
  std::string vhost_user_vsock_daemon;
  std::vector<std::string> enable_annotations;
  // Patterns of paths that annotations can choose among.
  std::vector<std::string> valid_hypervisor_paths;
  std::vector<std::string> valid_guest_paths;
  std::vector<std::string> valid_virtio_fs_daemon_paths;
  // [runtime]
  bool enable_debug = false;
  NetworkModel internetworking_model = NetworkModel::kTcFilter;
  bool sandbox_cgroup_only = true;
  bool port_forward = true;
  std::vector<std::string> shared_sockets;  // patterns (sockets/socket_rules.h)
  HostNamespace host_network = HostNamespace::kRefuse;
  HostNamespace host_pid = HostNamespace::kRefuse;
  HostNamespace host_ipc = HostNamespace::kRefuse;
  uint32_t create_container_timeout = 60;  // s, for the guest's part of Create
  // [agent.kata]
  bool has_agent_debug = false;  // enable_debug
  uint32_t dial_timeout = 13;    // s, until the agent of a booting VM answers
  // [factory]
  bool enable_template = true;
  std::string template_path = "/var/cache/kata-containers/templates";
  // Of no key: what default_memory was before it was made to fit a pod (FitMachine), for containers without a limit.
  // MiB.
  uint32_t memory_without_limit = 0;
};

// Where the values of a configuration come from; what is not named is a default.
struct ConfigOrigins {
  std::vector<std::string> files;           // that were read, in their order; ConfigBody among them
  std::map<std::string, std::string> keys;  // "/etc/….toml line 12", "annotation …", by "hypervisor.qemu.path"
  std::vector<std::string> notes;           // of keys that Kata has and that change nothing here
  std::vector<std::string> errors;          // each whole; a Status has the first kErrorsNamed of them
};

// So many wrong lines are named in one error: it has to fit into an event of Kubernetes.
inline constexpr size_t kErrorsNamed = 8;

// `prefix` is the installation the program runs from. `explicit_path` (a caller's ConfigPath) wins when not empty, then
// /etc/kata-containers/configuration.toml, then <prefix>/share/defaults/kata-containers/configuration.toml.
// "@PREFIX@" in values stands for `prefix`. `body` (a caller's ConfigBody) is TOML that wins over the files, key by
// key, and is called "ConfigBody" in errors; without an explicit path it may also stand alone, when there is no file.
absl::StatusOr<Config> LoadConfig(const std::string& prefix, const std::string& explicit_path,
                                  const std::string& body = "", ConfigOrigins* origins = nullptr);

// A pod's annotations that begin with kAnnotationFamily, checked by the same table; all that is wrong at once.
// PermissionDenied for one that `enable_annotations` does not name, letter by letter, and for a path that the
// operator's list for it does not have; InvalidArgument for one that no key has, or a bad value.
inline constexpr char kAnnotationFamily[] = "io.katacontainers.";
inline constexpr char kAnnotationPrefix[] = "io.katacontainers.config.";
absl::Status ApplyAnnotations(Config& config, const std::map<std::string, std::string>& annotations,
                              ConfigOrigins* origins = nullptr);
// Of an entry of `enable_annotations`: a whole name, or what follows "io.katacontainers.config.hypervisor." of one.
// InvalidArgument with why no pod can set it.
absl::Status CheckAnnotationName(const std::string& entry);

}  // namespace kata::virtcontainers
