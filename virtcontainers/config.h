// SPDX-License-Identifier: Apache-2.0
// The runtime's configuration: TOML with Kata's key names, plus config.d/*.toml drop-ins beside the file. Unknown keys
// and bad values are errors that name file, line and the nearest valid key. Any thread; value type.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "hypervisors/hypervisor.h"

namespace kata::virtcontainers {

enum class SharedFs { kVirtioFs, k9p };
enum class AgentTransport { kAuto, kVsock, kVirtioSerial, kVhostUserVsock };

struct Config {
  std::string file;  // where it was read from
  // [hypervisor.qemu]
  std::string path;              // emulator
  std::string kernel;
  std::string initrd;
  std::string machine_type = "q35";
  std::string firmware;
  std::string kernel_params;     // appended to the runtime's own
  hypervisors::Accelerator accelerator = hypervisors::Accelerator::kAuto;
  uint32_t default_vcpus = 1;
  uint32_t default_memory = 512;  // MiB
  SharedFs shared_fs = SharedFs::kVirtioFs;
  std::string virtio_fs_daemon;
  std::string virtio_fs_cache = "auto";
  AgentTransport agent_transport = AgentTransport::kAuto;
  std::string vhost_user_vsock_daemon;
  // [runtime]
  bool enable_debug = false;
  uint32_t create_container_timeout = 60;  // s, for the guest's part of Create
  // [agent.kata]
  uint32_t dial_timeout = 13;  // s, until the agent of a booting VM answers
};

// `prefix` is the installation the program runs from. `explicit_path` (a caller's ConfigPath) wins when not empty, then
// /etc/kata-containers/configuration.toml, then <prefix>/share/defaults/kata-containers/configuration.toml.
// "@PREFIX@" in values stands for `prefix`. `body` (a caller's ConfigBody) is TOML that wins over the files, key by key,
// and is called "ConfigBody" in errors; without an explicit path it may also stand alone, when there is no file.
absl::StatusOr<Config> LoadConfig(const std::string& prefix, const std::string& explicit_path,
                                  const std::string& body = "");

}  // namespace kata::virtcontainers
