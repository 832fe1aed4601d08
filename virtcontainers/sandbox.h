// SPDX-License-Identifier: Apache-2.0
// A sandbox: one VM, its shared file system, the agent in it and the pod's containers. Stopped when the VM stops for
// any reason. Io thread only; never blocks it; state is answered from memory. States: new → booting → running → stopped
// (final, also after a failed boot).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proto/base/coro.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/container.h"
#include "virtcontainers/id_mapping.h"
#include "virtcontainers/size/pod_size.h"

namespace kata::virtcontainers {

// Of a pod that no container of its own stands for: the pod's namespaces are the guest's own, or those of a process
// that the sandbox has made for them, and what else its containers share comes from here.
struct PodSettings {
  std::map<std::string, std::string> sysctls;
  // On the host. Its files hostname, hosts and resolv.conf are mounted in /etc of each container that has nothing else
  // mounted there; empty: none.
  std::string etc_directory;
  std::set<std::string> host_namespaces;  // that are asked for: "network", "pid", "ipc"
  bool shares_pids = false;               // its containers see each other's processes
  std::vector<IdMapping> uid_mappings;    // of its user namespace; empty: it has none
  std::vector<IdMapping> gid_mappings;
};

struct SandboxOptions {
  std::string id;
  Config config;
  std::string netns_path;          // empty: a new network namespace is made for the machine
  std::string hostname;            // the guest's
  std::string cgroup_path;         // on the host, linux.cgroupsPath; empty: one of its own at the top
  bool is_shim_placed = false;     // the caller has put the shim into a cgroup, where it stays
  std::optional<PodSettings> pod;  // nothing: the first container brings the pod's namespaces
  PodSize size;                    // that the configuration's has been made to fit
};

class Sandbox {
 public:
  // `pool` runs blocking mounts and file work. Both outlive the sandbox.
  static std::shared_ptr<Sandbox> Make(asio::any_io_executor executor, asio::thread_pool& pool, SandboxOptions options);
  virtual ~Sandbox() = default;

  // Starts virtiofsd and the VM, connects to the agent, makes the sandbox in the guest. On failure everything made is
  // undone; a boot that hangs ends at dial_timeout with the console's last lines in the error.
  virtual Co<absl::Status> Start() = 0;
  // Mounts rootfs and volumes into the share and makes the container in the guest. Undoes everything on failure.
  // May be called while Start() is under way: the host's part overlaps the boot.
  virtual Co<absl::StatusOr<std::shared_ptr<Container>>> CreateContainer(ContainerOptions options) = 0;
  // FailedPrecondition while its init runs. Removes guest state (short timeout when the guest does not answer),
  // mounts and execs.
  virtual Co<absl::Status> DeleteContainer(std::string id) = 0;
  virtual std::shared_ptr<Container> FindContainer(const std::string& id) const = 0;
  virtual size_t ContainerCount() const = 0;
  // Machine's host pid, 0 when there is none.
  virtual pid_t VmPid() const = 0;
  // Kills the VM and virtiofsd, ends the mount namespace and removes all of the sandbox on the host. Idempotent; every
  // Process that still runs ends with status 137.
  virtual Co<absl::Status> Stop() = 0;
  // Returns once the machine has ended, whoever has ended it, or its start has failed.
  virtual Co<void> WaitStopped() = 0;
  // Of all containers together, those included that are gone. Unavailable while no machine runs; Unimplemented with an
  // agent that is too old. The guest's word: fit to be shown, not to be trusted.
  virtual Co<absl::StatusOr<agent::v1::StatsContainerResponse>> Stats() = 0;
  // What is known of the machine and the guest, for people: name → value. Any time.
  virtual std::map<std::string, std::string> Facts() const = 0;
  // Last lines of the guest's console, at most `size_max` bytes, printable characters only. Any time.
  virtual std::string ConsoleTail(size_t size_max) const = 0;
};

// For the shim's `delete` action after its daemon was killed: removes machine, virtiofsd, and both directories.
// Blocking, idempotent, at most `timeout`.
absl::Status CleanUpSandbox(const std::string& sandbox_id, std::chrono::milliseconds timeout);

}  // namespace kata::virtcontainers
