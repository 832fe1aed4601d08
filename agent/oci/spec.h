// SPDX-License-Identifier: Apache-2.0
// The parts of the OCI runtime spec that the agent acts on, as plain values. Parsing checks types
// and names, it does not touch the system. Fields not known here are passed over: the host has
// judged them (virtcontainers/oci/fields.h). Any thread.
#pragma once

#include <sys/types.h>

#include <absl/strings/string_view.h>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "agent/oci/device_rules.h"
#include "agent/oci/scheduling.h"
#include "agent/oci/seccomp.h"
#include "agent/oci/user_namespace.h"
#include "proto/base/hook.h"

namespace kata::agent {

// Bytes of one spec document.
inline constexpr size_t kSpecSizeMax = 2u << 20;
// Page sizes, devices and unified keys with a limit, of each kind.
inline constexpr size_t kLimitsMax = 256;

struct Rlimit {
  int resource = 0;
  uint64_t soft = 0;
  uint64_t hard = 0;
};

struct Capabilities {
  // Names as in the spec ("CAP_CHOWN"); names that the kernel headers do not know are skipped when
  // applied.
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;
};

struct ProcessSpec {
  bool terminal = false;
  unsigned console_width = 0;
  unsigned console_height = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> additional_gids;
  mode_t umask = 022;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd = "/";
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::optional<int> oom_score_adj;
  std::optional<Scheduler> scheduler;
  std::optional<IoPriority> io_priority;
  // Of an exec, numbers of the host: before and after it belongs to the container's cgroup, which it does from birth.
  std::string affinity_initial;
  std::string affinity_final;
};

struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
};

struct Device {
  std::string path;
  std::string source;  // where the guest has it; empty: at the same path
  mode_t type = 0;     // S_IFCHR, S_IFBLK or S_IFIFO
  unsigned major = 0;
  unsigned minor = 0;
  mode_t mode = 0666;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct HugepageLimit {
  std::string page_size;  // as the kernel's file names have it: "2MB"
  uint64_t limit = 0;
};

struct BlockWeight {
  std::string device;  // "MAJOR:MINOR"
  uint64_t weight = 0;
};

struct BlockThrottle {
  std::string device;  // "MAJOR:MINOR"
  const char* key;     // as in io.max: "rbps", "wbps", "riops", "wiops"
  uint64_t rate = 0;
};

struct Resources {
  std::optional<uint64_t> cpu_shares;
  std::optional<int64_t> cpu_quota;
  std::optional<uint64_t> cpu_period;
  std::optional<uint64_t> cpu_burst;
  std::optional<int64_t> cpu_idle;
  std::string cpuset_cpus;
  std::string cpuset_mems;
  std::optional<int64_t> memory_limit;
  std::optional<int64_t> memory_swap;  // memory plus swap, as the spec says
  std::optional<int64_t> memory_reservation;
  bool memory_check_before_update = false;
  std::optional<int64_t> pids_limit;
  std::vector<HugepageLimit> hugepage_limits;
  std::optional<uint64_t> block_weight;
  std::vector<BlockWeight> block_weights;
  std::vector<BlockThrottle> block_throttles;
  std::vector<DeviceRule> device_rules;
  std::map<std::string, std::string> unified;
};

struct Namespaces {
  bool has_pid = false, has_ipc = false, has_uts = false, has_user = false, has_time = false;
  // A path is the host's. One that is set means the namespace of another container of the sandbox
  // (SharedNamespaces).
  std::string pid_path, ipc_path, uts_path, user_path, time_path;
};

struct ContainerSpec {
  ProcessSpec process;
  std::string root_path;
  bool root_is_readonly = false;
  std::string hostname;
  std::string domainname;
  std::vector<Mount> mounts;
  std::vector<Device> devices;
  Resources resources;
  Namespaces namespaces;
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::string rootfs_propagation;
  std::map<std::string, std::string> sysctls;
  IdMappings uid_mappings, gid_mappings;  // of a user namespace
  std::map<std::string, TimeOffset> time_offsets;
  std::optional<unsigned long> personality;
  std::optional<SeccompProfile> seccomp;
  std::vector<Hook> start_hooks;
  // Not of the document:
  std::string hook_state;   // what they read
  bool is_sandbox = false;  // MakeSandboxContainer has been here
};

// InvalidArgument with the reason for a document that is not a usable spec.
absl::StatusOr<ContainerSpec> ParseContainerSpec(absl::string_view json);
absl::StatusOr<ProcessSpec> ParseProcessSpec(absl::string_view json);
// The `linux.resources` object by itself.
absl::StatusOr<Resources> ParseResources(absl::string_view json);
// Whether the sandbox's first container, which there is nobody to share with, can have them.
// A path in /proc is another process's, of which the guest knows nothing; any other is a namespace
// that the engine has pinned for this very sandbox, and the guest's new one stands for it.
absl::Status CheckFirstNamespaces(const Namespaces& names);

}  // namespace kata::agent
