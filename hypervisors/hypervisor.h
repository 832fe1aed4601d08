// SPDX-License-Identifier: Apache-2.0
// The machine of one sandbox, without naming a back end. Used from the io thread; blocking work happens on the
// implementation's own pool. States: defined → running ⇄ paused → stopped (final).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hypervisors/device.h"
#include "proto/base/coro.h"
#include "proto/base/fd.h"
#include "proto/ttrpc/transport.h"

namespace kata::hypervisors {

enum class Accelerator { kAuto, kKvm, kTcg };

// What the agent's connection runs over: the vsock that the spec's devices have, of the host's kernel or of a running
// vhost-device-vsock; without one a virtio-serial port.
enum class AgentChannel { kVirtioSerial, kVsock, kVhostUserVsock };

inline constexpr uint32_t kAgentVsockPort = 1024;  // the agent listens
inline constexpr uint32_t kAgentReadyPort = 1025;  // the host listens, for the agent's word that it does

struct VmSpec {
  std::string name;          // domain name: the sandbox id, [A-Za-z0-9._-]{1,96}
  std::string runtime_dir;   // 0711 directory of this sandbox, exists; everything of the machine is put below it
  std::string emulator;      // absolute path of qemu-system-*
  std::string machine_type;  // q35
  std::string firmware;      // empty = QEMU's default
  std::string kernel;
  std::string initrd;
  std::string kernel_params;  // kernel_params.h and more; an emulated machine gets TcgKernelParams() besides
  // What the guest finds by name below kGuestWords of the firmware's configuration, not on its command line, which is a
  // part of its memory: a machine cloned from another has words of its own.
  std::map<std::string, std::string> guest_words;
  uint32_t vcpus = 1;
  uint64_t memory_mib = 512;
  // What it can grow to while it runs, with Resize; not above the first size: it keeps that.
  uint32_t vcpus_max = 0;
  uint64_t memory_max_mib = 0;
  Accelerator accelerator = Accelerator::kAuto;
  uid_t uid = 0;  // QEMU's user: unprivileged, of this sandbox alone
  gid_t gid = 0;
  int mount_namespace =
      -1;  // where a 9p share's directory is, a descriptor that stays open for the start; -1 = the caller's
  std::vector<Device> devices;  // that the machine starts with; device.h
  // Laid out so that it can be saved, and that a machine of the same shape with other devices can go on from what was
  // saved: its memory is shared, and it has a root port more, for devices that QEMU cannot load.
  bool is_cloneable = false;
  // A directory that Save has filled: the machine goes on from there instead of booting. Where that fails it boots,
  // with one warning. Needs is_cloneable. Empty: it boots.
  std::string saved_state;
  // Threads of the machine's process that work for disks: one for all of them, and so many for those on root ports, in
  // turns. Without any, the thread does it that does all else.
  bool has_disk_thread = false;
  uint32_t port_disk_threads = 0;  // at most kPortDiskThreadsMax
  bool is_network_qemus = false;   // of all its cards: see NetworkCard
  bool has_console_log = false;    // each line of the console is logged, up to kConsoleLinesLogged
  uint32_t root_ports = 0;         // how many more can be attached at a time; at most kRootPortsMax
  std::string cache_dir;  // host-wide, 0700 root: libvirt's capability files, verdicts of probe boots; empty = none
};

// QEMU's users are asked to stay below "opt/" and a name of their own.
inline constexpr char kGuestWords[] = "opt/org.katacontainers/";

inline constexpr uint32_t kRootPortsMax = 32;
inline constexpr uint32_t kPortDiskThreadsMax = 16;
// libvirt itself waits for 5 s of it.
inline constexpr std::chrono::seconds kDetachTimeout{20};

// Memory that comes or goes while a machine runs does so in steps of this.
inline constexpr uint64_t kMemoryStepMib = 4;

struct MachineSize {
  uint32_t vcpus = 1;
  uint64_t memory_mib = 0;
  bool operator==(const MachineSize&) const = default;
};

AgentChannel AgentChannelOf(const VmSpec& spec);

// Why a machine stopped.
enum class StopReason { kShutDown, kDestroyed, kCrashed, kFailed };

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  // Checks the spec (files exist and are readable by uid), then creates and boots the machine in the network namespace
  // `netns` (a namespace descriptor that stays open for the call). One-line error that names file and fix.
  // Legal once, in `defined`.
  virtual Co<absl::Status> Start(VmSpec spec, int netns) = 0;
  // Connected to the agent's channel; legal once running, and again after the one before was closed. On a virtio-serial
  // port the agent may not answer yet: what is written waits for it. On a vsock it listens, which is waited for.
  virtual Co<absl::StatusOr<std::unique_ptr<ttrpc::Transport>>> ConnectAgent(std::chrono::milliseconds timeout) = 0;
  // Plugs `device` in, on a free root port; returns when the machine has it, before the guest has found it. Legal while
  // running. ResourceExhausted when no port is free, AlreadyExists when the id is taken. On failure nothing stays.
  virtual Co<absl::Status> Attach(Device device) = 0;
  // Takes out what Attach has plugged in, once the guest has let go of it: DeadlineExceeded when it does not within
  // kDetachTimeout; the device is there still, and a later try may succeed. NotFound for an unknown id.
  virtual Co<absl::Status> Detach(std::string id) = 0;
  // Makes the machine larger or smaller, between the size and the largest one of its spec; sizes out of these bounds
  // are brought to them, memory to a whole step. Returns the size that the guest is to have then: it takes new
  // processors and memory into use by itself, and gives memory back as it can. An emulated machine has all processors
  // from its start, the guest takes as many of them into use. Legal while running; on failure the size is what it was,
  // or between.
  virtual Co<absl::StatusOr<MachineSize>> Resize(MachineSize size) = 0;
  // Pauses the machine, which stays paused, and writes its state to `directory`, which exists and is empty. Legal while
  // running, of a cloneable machine without devices. On failure files may be left there.
  virtual Co<absl::Status> Save(std::string directory) = 0;
  // Whether it went on from a saved state: the guest has another machine's keys, clock and devices as yet.
  virtual bool IsClone() const = 0;
  // Host pid of the machine's process; 0 when not running.
  virtual pid_t Pid() const = 0;
  // kKvm or kTcg once running; kAuto before.
  virtual Accelerator accelerator() const = 0;
  virtual Co<absl::Status> Pause() = 0;
  virtual Co<absl::Status> Resume() = 0;
  // Kills the machine's process and returns once it is gone (tens of milliseconds). Idempotent, legal in any state.
  virtual Co<absl::Status> Stop() = 0;
  // Returns when the machine has stopped, for whatever reason.
  virtual Co<StopReason> WaitStopped() = 0;
  // Last lines of the guest's console, at most `size_max` bytes, printable characters only.
  virtual std::string ConsoleTail(size_t size_max) const = 0;
};

// What two machines must have alike so that one can go on from the other's saved state, as text: what the guest sees,
// and the files and versions behind it. Blocking: chooses the accelerator.
absl::StatusOr<std::string> ShapeOf(const VmSpec& spec);

// The libvirt back end on qemu:///embed?root=<runtime_dir>/libvirt.
std::unique_ptr<Hypervisor> MakeLibvirtHypervisor(asio::any_io_executor executor);

// Removes what a machine of this name can have left on the host after its shim was killed: its process, sockets and
// cgroups. Blocking, idempotent, uses no libvirt; at most `timeout`. For the shim's `delete` action.
absl::Status CleanUpMachine(const std::string& name, const std::string& runtime_dir, std::chrono::milliseconds timeout);

}  // namespace kata::hypervisors
