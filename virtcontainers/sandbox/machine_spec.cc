// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/sandbox/machine_spec.h"

#include <sys/stat.h>
#include <unistd.h>

#include "hypervisors/accelerator/kernel_params.h"
#include "hypervisors/vsock.h"
#include "proto/base/status.h"
#include "virtcontainers/paths.h"
#include "virtcontainers/sandbox/sandbox_template.h"

namespace kata::virtcontainers {
namespace {

constexpr char kCacheDirectory[] = "/var/cache/kata-containers";
constexpr uid_t kQemuUidBase = 0x70000000;  // + the shim's pid: unprivileged and of this sandbox alone
constexpr char kVsockDevice[] = "vsock";
// Wins over the "quiet" before it.
constexpr char kConsoleLogParams[] = " loglevel=7";
// Without the second word the kernel drops what is more than a few lines in a second.
constexpr char kAgentDebugParams[] = " agent.debug=1 printk.devkmsg=on";

gid_t QemuGid(uid_t uid) {
  struct stat info {};
  return ::stat("/dev/kvm", &info) == 0 && info.st_gid != 0 ? info.st_gid : uid;
}

hypervisors::AgentChannel ChannelOf(const Config& config) {
  using hypervisors::AgentChannel;
  switch (config.agent_transport) {
    case AgentTransport::kAuto:
      if (CanBeClone(config)) return AgentChannel::kVirtioSerial;
      return hypervisors::CheckVhostVsock().ok() ? AgentChannel::kVsock : AgentChannel::kVirtioSerial;
    case AgentTransport::kVsock:
      return AgentChannel::kVsock;
    case AgentTransport::kVirtioSerial:
      return AgentChannel::kVirtioSerial;
    case AgentTransport::kVhostUserVsock:
      return AgentChannel::kVhostUserVsock;
  }
  return AgentChannel::kVirtioSerial;
}

}  // namespace

void UseOwnUser(hypervisors::VmSpec& spec) {
  spec.uid = kQemuUidBase + static_cast<uid_t>(::getpid());
  spec.gid = QemuGid(spec.uid);
}

hypervisors::VmSpec MakeMachineSpec(const SandboxOptions& options, const BootToken& token) {
  const Config& config = options.config;
  hypervisors::VmSpec spec;
  spec.name = options.id;
  spec.runtime_dir = RuntimeDirectory(options.id);
  spec.emulator = config.path;
  spec.machine_type = config.machine_type;
  spec.firmware = config.firmware;
  spec.kernel = config.kernel;
  spec.initrd = config.initrd;
  UseOwnUser(spec);
  spec.kernel_params = hypervisors::kKernelParams;
  spec.has_console_log = config.has_console_log || config.has_agent_debug;
  if (spec.has_console_log) absl::StrAppend(&spec.kernel_params, kConsoleLogParams);
  if (config.has_agent_debug) absl::StrAppend(&spec.kernel_params, kAgentDebugParams);
  if (!config.kernel_params.empty()) absl::StrAppend(&spec.kernel_params, " ", config.kernel_params);
  spec.guest_words[kTokenWord] = token.sha256_hex;
  spec.vcpus = config.default_vcpus;
  spec.memory_mib = config.default_memory;
  spec.vcpus_max = config.default_maxvcpus;
  spec.memory_max_mib = config.default_maxmemory;
  spec.accelerator = config.accelerator;
  spec.is_cloneable = CanBeClone(config);
  spec.has_disk_thread = config.enable_iothreads;
  spec.port_disk_threads = config.indep_iothreads;
  spec.is_network_qemus = config.disable_vhost_net;
  spec.root_ports = config.pcie_root_port;
  spec.cache_dir = kCacheDirectory;
  return spec;
}

absl::Status PrepareChannel(const Config& config, hypervisors::VmSpec& spec, VsockDaemon& daemon) {
  const hypervisors::AgentChannel channel = ChannelOf(config);
  if (channel == hypervisors::AgentChannel::kVirtioSerial) return absl::OkStatus();
  absl::StrAppend(&spec.kernel_params, " agent.vsock_port=", hypervisors::kAgentVsockPort);
  if (channel == hypervisors::AgentChannel::kVsock) {
    spec.devices.push_back({kVsockDevice, hypervisors::HostVsock{}});
    return absl::OkStatus();
  }
  VsockDaemonOptions options;
  options.program = config.vhost_user_vsock_daemon;
  options.directory = absl::StrCat(spec.runtime_dir, "/vsock");
  options.uid = spec.uid;
  options.gid = spec.gid;
  options.ready_port = hypervisors::kAgentReadyPort;
  absl::StrAppend(&spec.kernel_params, " agent.vsock_ready_port=", options.ready_port);
  ASSIGN_OR_RETURN(daemon, StartVsockDaemon(options));
  hypervisors::VhostUserVsock vsock;
  vsock.ready = daemon.ready.get();
  vsock.socket = absl::StrCat(options.directory, "/", kVsockMachineSocket);
  vsock.host_socket = absl::StrCat(options.directory, "/", kVsockHostSocket);
  spec.devices.push_back({kVsockDevice, vsock});
  return absl::OkStatus();
}

}  // namespace kata::virtcontainers
