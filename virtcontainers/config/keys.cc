// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config/keys.h"

#include <algorithm>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>

#include "virtcontainers/config/virtiofsd_arguments.h"
#include "virtcontainers/sockets/socket_rules.h"

namespace kata::virtcontainers {
namespace {

using hypervisors::Accelerator;
using hypervisors::DiskAio;

constexpr char kQemu[] = "hypervisor.qemu";
constexpr char kRuntime[] = "runtime";
constexpr char kAgent[] = "agent.kata";
constexpr char kFactory[] = "factory";
constexpr uint32_t kMemoryMibMin = 64;
constexpr uint32_t kMemoryMibMax = 1 << 20;
constexpr uint32_t kOverheadMibMin = 64;
constexpr uint32_t kDiskMibMin = 16;
constexpr uint32_t kDiskMibMax = 16u << 20;
constexpr uint32_t kVcpusMax = 64;
constexpr uint32_t kSecondsMax = 3600;

template <typename T>
ChoiceKey Choice(T Config::*member, std::vector<std::pair<std::string, T>> choices) {
  ChoiceKey key;
  std::vector<T> values;
  for (auto& [word, value] : choices) {
    key.words.push_back(std::move(word));
    values.push_back(std::move(value));
  }
  key.set = [member, values](Config& config, size_t index) { config.*member = values[index]; };
  key.get = [member, values](const Config& config) {
    return static_cast<size_t>(std::find(values.begin(), values.end(), config.*member) - values.begin());
  };
  return key;
}

ChoiceKey OfHostNamespace(HostNamespace Config::*member) {
  return Choice<HostNamespace>(member, {{"refuse", HostNamespace::kRefuse}, {"machine", HostNamespace::kMachine}});
}

std::vector<ConfigKey> MakeKeys() {
  return {
      {kQemu, "path", TextKey{&Config::path, true, &Config::valid_hypervisor_paths}, "",
       "The emulator, an absolute path.", "hypervisor.path"},
      {kQemu, "kernel", TextKey{&Config::kernel, true, &Config::valid_guest_paths}, "",
       "The guest's kernel: an uncompressed ELF boots fastest.", "hypervisor.kernel"},
      {kQemu, "initrd", TextKey{&Config::initrd, true, &Config::valid_guest_paths}, "",
       "The initramfs that holds the agent.", "hypervisor.initrd"},
      {kQemu, "machine_type", TextKey{&Config::machine_type}, "", "QEMU's machine. Only q35 is tested.", ""},
      {kQemu, "firmware", TextKey{&Config::firmware, true, &Config::valid_guest_paths}, "",
       "A firmware image; empty: QEMU's default one. qboot starts some tenths of a second faster than SeaBIOS.",
       "hypervisor.firmware"},
      {kQemu, "kernel_params", TextKey{&Config::kernel_params}, "",
       "Appended to the kernel command line that the runtime makes; a later word wins over an earlier one.", ""},
      {kQemu, "accelerator",
       Choice<Accelerator>(&Config::accelerator,
                           {{"auto", Accelerator::kAuto}, {"kvm", Accelerator::kKvm}, {"tcg", Accelerator::kTcg}}),
       "",
       "\"auto\": hardware virtualization where it works, else emulation with one warning that says why. \"kvm\": fail "
       "where it does not work. \"tcg\": always emulate, several times slower.",
       ""},
      {kQemu, "default_vcpus", NumberKey{&Config::default_vcpus, 1, kVcpusMax}, "",
       "CPUs of the machine of a pod that has no limit; with one it has as many as that needs, a pod of Kubernetes not "
       "fewer than this. Every CPU costs time at boot.",
       "hypervisor.default_vcpus"},
      {kQemu, "default_memory", NumberKey{&Config::default_memory, kMemoryMibMin, kMemoryMibMax}, "MiB",
       "Memory of the machine of a pod that has no limit; with one it has the limit and overhead_memory, a pod of "
       "Kubernetes not less than this. Pages count on the host only once the guest has used them.",
       "hypervisor.default_memory"},
      {kQemu, "default_maxvcpus", NumberKey{&Config::default_maxvcpus, 0, kVcpusMax}, "",
       "CPUs that a machine can grow to as containers join its pod and limits are raised; 0: those of the host. With "
       "no "
       "more than it starts with it never grows.",
       "hypervisor.default_max_vcpus"},
      {kQemu, "default_maxmemory", NumberKey{&Config::default_maxmemory, 0, kMemoryMibMax}, "MiB",
       "The same for its memory. 0: the memory of the host.", "hypervisor.default_maxmemory"},
      {kQemu, "overhead_memory", NumberKey{&Config::overhead_memory, kOverheadMibMin, kMemoryMibMax}, "MiB",
       "What a machine has beside the limit of its pod: for the guest's kernel, the agent, and what containers leave "
       "each other.",
       ""},
      {kQemu, "pcie_root_port", NumberKey{&Config::pcie_root_port, 0, hypervisors::kRootPortsMax}, "",
       "How many devices can be plugged into a running machine at a time: interfaces and disks. The last but one that "
       "is "
       "free gets a SCSI controller, which takes any number of disks. Every port costs time at boot.",
       ""},
      {kQemu, "disable_block_device_use", SwitchKey{&Config::disable_block_device_use}, "",
       "A root file system that is a file system of its own on the host (an image with \"loop\", a snapshotter's "
       "device) is plugged into the machine as a disk, whose kernel mounts it. true: the host mounts it and shares it.",
       ""},
      {kQemu, "rootfs_writes",
       Choice<RootfsWrites>(
           &Config::rootfs_writes,
           {{"auto", RootfsWrites::kAuto}, {"share", RootfsWrites::kShare}, {"disk", RootfsWrites::kDisk}}),
       "",
       "Where what a container writes to its root file system goes. \"share\": to the host, where docker cp, docker "
       "commit and the kubelet's account of ephemeral storage find it. \"disk\": to a sparse disk of the container's "
       "own, which is gone with it: creating and removing files is some ten times as fast, and nothing of it is seen "
       "on the host. \"auto\": to such a disk where the image's layers are disks of the machine as well (containerd's "
       "erofs snapshotter), which \"share\" leaves to the host; to the host otherwise.",
       ""},
      {kQemu, "rootfs_disk_size", NumberKey{&Config::rootfs_disk_size, kDiskMibMin, kDiskMibMax}, "MiB",
       "The size of that disk: a container that has filled it is told that there is no space left.", ""},
      {kQemu, "rootfs_disk_path", TextKey{&Config::rootfs_disk_path, true}, "",
       "A directory of a file system of the host where these disks' blocks are; they have no names there.", ""},
      {kQemu, "block_device_driver",
       Choice<bool>(&Config::is_disk_on_scsi,
                    {{"virtio-blk", false}, {"virtio-scsi", true}, {"virtio-blk-pci", false}}),
       "",
       "How a disk is plugged in. \"virtio-blk\": on a root port of its own while there are some (pcie_root_port), "
       "then "
       "behind the SCSI controller (also \"virtio-blk-pci\"). \"virtio-scsi\": all behind the controller.",
       ""},
      {kQemu, "block_device_aio",
       Choice<DiskAio>(&Config::block_device_aio,
                       {{"threads", DiskAio::kThreads}, {"native", DiskAio::kNative}, {"io_uring", DiskAio::kIoUring}}),
       "",
       "How QEMU waits for the host's disks. \"native\" needs block_device_cache_set and block_device_cache_direct. "
       "\"io_uring\" needs a host that allows it (kernel.io_uring_disabled); where it does not, \"threads\" is used, "
       "with a warning.",
       ""},
      {kQemu, "block_device_cache_set", SwitchKey{&Config::block_device_cache_set}, "",
       "Whether the two keys below count. false: disks go through the host's page cache, and a flush of the guest's is "
       "done. Disks that are thrown away with their container (rootfs_writes) are flushed never, whatever is said "
       "here.",
       ""},
      {kQemu, "block_device_cache_direct", SwitchKey{&Config::block_device_cache_direct}, "",
       "Past the host's page cache (O_DIRECT), which the file system of an image must allow.", ""},
      {kQemu, "block_device_cache_noflush", SwitchKey{&Config::block_device_cache_noflush}, "",
       "A flush of the guest's is not done: what it has written is lost when the host loses its power, not when the "
       "machine ends. Not together with block_device_cache_direct.",
       ""},
      {kQemu, "enable_iothreads", SwitchKey{&Config::enable_iothreads}, "",
       "A thread of the machine's process works for all disks, beside the one that does all else.", ""},
      {kQemu, "indep_iothreads", NumberKey{&Config::indep_iothreads, 0, hypervisors::kPortDiskThreadsMax}, "",
       "So many further threads work for the disks that have root ports of their own, each for every so many.", ""},
      {kQemu, "disable_vhost_net", SwitchKey{&Config::disable_vhost_net}, "",
       "Where the host has KVM and /dev/vhost-net, its kernel carries the packets of the machine's cards, which is "
       "faster. true: QEMU does, which has fewer rights.",
       ""},
      {kQemu, "enable_debug", SwitchKey{&Config::has_console_log}, "",
       "The guest's kernel says more on its console, and each line of it is in containerd's log, up to 20,000 of a "
       "machine: a guest can write there what it likes.",
       ""},
      {kQemu, "shared_fs",
       Choice<SharedFs>(&Config::shared_fs, {{"virtio-fs", SharedFs::kVirtioFs}, {"virtio-9p", SharedFs::k9p}}), "",
       "How the guest sees root file systems and volumes. \"virtio-fs\": fast, needs virtio_fs_daemon. \"virtio-9p\": "
       "a "
       "fallback without a daemon, for reading: slow, and on the shared files the guest's root has no more rights than "
       "the machine's unprivileged user, so that a mount point which the image lacks cannot be made.",
       ""},
      {kQemu, "virtio_fs_daemon", TextKey{&Config::virtio_fs_daemon, true, &Config::valid_virtio_fs_daemon_paths}, "",
       "The virtiofsd program, an absolute path; empty: where distributions put it. Both kinds will do, QEMU's and the "
       "one in Rust.",
       "hypervisor.virtio_fs_daemon"},
      {kQemu, "virtio_fs_cache",
       Choice<std::string>(&Config::virtio_fs_cache,
                           {{"auto", "auto"}, {"always", "always"}, {"none", "none"}, {"never", "none"}}),
       "",
       "\"auto\": the guest caches for one second, so the host's changes appear soon. \"always\": fastest, for files "
       "that nobody on the host changes. \"none\" (also \"never\"): every access asks the host.",
       "hypervisor.virtio_fs_cache"},
      {kQemu, "virtio_fs_queue_size", NumberKey{&Config::virtio_fs_queue_size, 2, hypervisors::kShareQueueSizeMax}, "",
       "How many requests for files the guest can have on the way at a time; a power of two.", ""},
      {kQemu, "virtio_fs_extra_args", ListKey{&Config::virtio_fs_extra_args, &CheckVirtiofsdArgument}, "",
       "Further arguments of virtiofsd, e.g. [\"--thread-pool-size=4\"], as the program that is there knows them. What "
       "the "
       "runtime sets itself is refused by its name.",
       ""},
      {kQemu, "agent_transport",
       Choice<AgentTransport>(&Config::agent_transport, {{"auto", AgentTransport::kAuto},
                                                         {"vsock", AgentTransport::kVsock},
                                                         {"virtio-serial", AgentTransport::kVirtioSerial},
                                                         {"vhost-user-vsock", AgentTransport::kVhostUserVsock}}),
       "",
       "What the runtime talks to the agent over. \"auto\": \"vsock\" where /dev/vhost-vsock can be opened, else "
       "\"virtio-serial\". \"vsock\": the vsock of the host's kernel. \"virtio-serial\": a serial port; needs nothing "
       "of the host. \"vhost-user-vsock\": a vsock without the kernel's help, for tests; needs "
       "vhost_user_vsock_daemon.",
       ""},
      {kQemu, "vhost_user_vsock_daemon", TextKey{&Config::vhost_user_vsock_daemon, true}, "",
       "The vhost-device-vsock program, an absolute path.", ""},
      {kQemu, "enable_annotations", ListKey{&Config::enable_annotations, &CheckAnnotationName}, "",
       "Annotations that a pod may set a key with, each by its whole name, e.g. "
       "\"io.katacontainers.config.hypervisor.default_memory\", or by what follows \"hypervisor.\" in it: "
       "\"default_memory\". No patterns. Others are refused. Those that there are stand with their keys; none of them "
       "can choose kernel parameters or words of a command line.",
       ""},
      {kQemu, "valid_hypervisor_paths", ListKey{&Config::valid_hypervisor_paths, &CheckSocketPattern}, "",
       "Of the annotation path: the emulators that a pod can choose, once it is enabled. Patterns of absolute paths as "
       "shared_sockets has them. Name no directory in which others than root can make files.",
       ""},
      {kQemu, "valid_guest_paths", ListKey{&Config::valid_guest_paths, &CheckSocketPattern}, "",
       "The same of the annotations kernel, initrd and firmware.", ""},
      {kQemu, "valid_virtio_fs_daemon_paths", ListKey{&Config::valid_virtio_fs_daemon_paths, &CheckSocketPattern}, "",
       "The same of the annotation virtio_fs_daemon.", ""},
      {kRuntime, "enable_debug", SwitchKey{&Config::enable_debug}, "", "Debug lines in containerd's log.", ""},
      {kRuntime, "internetworking_model",
       Choice<NetworkModel>(
           &Config::internetworking_model,
           {{"tcfilter", NetworkModel::kTcFilter}, {"macvtap", NetworkModel::kMacvtap}, {"none", NetworkModel::kNone}}),
       "",
       "How the interfaces of the pod's network namespace reach the machine. \"tcfilter\": each beside a tap, with a "
       "filter that sends on what the other receives. \"macvtap\": each with a macvtap on it, which needs a devtmpfs "
       "at "
       "/dev; not for an interface that is a macvlan itself. \"none\": not at all, the pod has loopback only.",
       ""},
      {kRuntime, "port_forward", SwitchKey{&Config::port_forward}, "",
       "A TCP connection that a program of the host makes to 127.0.0.1 or ::1 in the pod's network namespace arrives "
       "at "
       "the loopback of the machine, where the pod's servers listen: kubectl port-forward comes so. Needs Linux 5.9.",
       ""},
      {kRuntime, "shared_sockets", ListKey{&Config::shared_sockets, &CheckSocketPattern}, "",
       "Unix stream sockets of the host that a pod may be given by a bind mount of the socket itself, as patterns of "
       "paths, e.g. [\"/run/spire/agent.sock\", \"/run/csi/*.sock\"]; others are refused. * stands for any part of a "
       "name, not for a slash, nor for a dot that a name begins with. Links are resolved first: /run/docker.sock, not "
       "/var/run/docker.sock. Who owns the guest can talk to these servers as root of the host; name no directory in "
       "which others than root can make sockets.",
       ""},
      {kRuntime, "sandbox_cgroup_only", SwitchKey{&Config::sandbox_cgroup_only}, "",
       "All of a pod's processes on the host (machine, virtiofsd, shim) are in the pod's cgroup, so that its limits "
       "and "
       "statistics see them: a limit there must leave room for overhead_memory. false: the machine's processors alone, "
       "the "
       "rest is in kata_overhead/<sandbox>, which has no limit; for hosts with cgroups of version 1.",
       ""},
      {kRuntime, "host_network", OfHostNamespace(&Config::host_network), "",
       "A pod that asks for the host's network (hostNetwork, --network host), which a machine cannot have. \"refuse\": "
       "with an error. \"machine\": it has the machine's own, which is loopback only, and a warning is logged.",
       ""},
      {kRuntime, "host_pid", OfHostNamespace(&Config::host_pid), "",
       "As host_network, for hostPID and --pid host. \"machine\": the container sees the agent's processes and those "
       "of "
       "the whole pod.",
       ""},
      {kRuntime, "host_ipc", OfHostNamespace(&Config::host_ipc), "",
       "As host_network, for hostIPC and --ipc host. \"machine\": all containers of the pod that ask for it share one.",
       ""},
      {kRuntime, "create_container_timeout", NumberKey{&Config::create_container_timeout, 1, kSecondsMax}, "s",
       "For the guest's part of making a container. Large images on slow disks may need more.",
       "runtime.create_container_timeout"},
      {kAgent, "dial_timeout", NumberKey{&Config::dial_timeout, 1, kSecondsMax}, "s",
       "From the machine's start until the agent in it must have answered; the time in which the machine waits for a "
       "CPU "
       "of the host does not count. The error of a boot that takes longer holds the last lines of the guest's console.",
       ""},
      {kAgent, "enable_debug", SwitchKey{&Config::has_agent_debug}, "",
       "The agent's own debug lines, which come by the guest's console: all that enable_debug of [hypervisor.qemu] "
       "does "
       "is done too.",
       ""},
      {kFactory, "enable_template", SwitchKey{&Config::enable_template}, "",
       "A pod's machine goes on from a template, the saved state of one that has booted, instead of booting: several "
       "times faster, and smaller. The first pod of a configuration boots and has the template made. With "
       "agent_transport \"auto\" the runtime talks to the agent over \"virtio-serial\" then. Not for shared_fs "
       "\"virtio-9p\" and a vsock.",
       ""},
      {kFactory, "template_path", TextKey{&Config::template_path, true}, "",
       "Where templates are kept, some 40 MiB each and eight at most; of root alone, since a guest's memory is what is "
       "in them.",
       ""},
  };
}

std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

std::string AsList(const std::vector<std::string>& texts) {
  const auto quote = [](std::string* out, const std::string& text) { out->append(Quoted(text)); };
  return absl::StrCat("[", absl::StrJoin(texts, ", ", quote), "]");
}

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

const std::vector<ConfigKey>& ConfigKeys() {
  static const std::vector<ConfigKey>& keys = *new std::vector<ConfigKey>(MakeKeys());
  return keys;
}

std::string FullName(const ConfigKey& key) { return absl::StrCat(key.table, ".", key.name); }

const ConfigKey* FindKey(const std::string& name) {
  const ConfigKey* found = nullptr;
  for (const ConfigKey& key : ConfigKeys()) {
    if (FullName(key) == name) return &key;
    if (key.name != name) continue;
    if (found != nullptr) return nullptr;
    found = &key;
  }
  return found;
}

std::string LegalValues(const ConfigKey& key) {
  return std::visit(Overloaded{[](const TextKey& kind) -> std::string { return kind.is_path ? "a path" : "a string"; },
                               [](const NumberKey& kind) {
                                 return absl::StrCat("a whole number from ", kind.low, " to ", kind.high);
                               },
                               [](const SwitchKey&) -> std::string { return "true or false"; },
                               [](const ChoiceKey& kind) {
                                 std::string list = AsList(kind.words);
                                 return absl::StrCat("one of ", list.substr(1, list.size() - 2));
                               },
                               [](const ListKey&) -> std::string { return "a list of strings"; }},
                    key.kind);
}

std::string ValueAsToml(const ConfigKey& key, const Config& config) {
  return std::visit(
      Overloaded{[&config](const TextKey& kind) { return Quoted(config.*kind.member); },
                 [&config](const NumberKey& kind) { return std::to_string(config.*kind.member); },
                 [&config](const SwitchKey& kind) -> std::string { return config.*kind.member ? "true" : "false"; },
                 [&config](const ChoiceKey& kind) { return Quoted(kind.words[kind.get(config)]); },
                 [&config](const ListKey& kind) { return AsList(config.*kind.member); }},
      key.kind);
}

absl::Status SetFromText(const ConfigKey& key, Config& config, const std::string& text) {
  const absl::Status bad = absl::InvalidArgumentError(absl::StrCat(LegalValues(key), " is needed"));
  return std::visit(Overloaded{[&](const TextKey& kind) {
                                 config.*kind.member = text;
                                 return absl::OkStatus();
                               },
                               [&](const NumberKey& kind) {
                                 uint32_t number = 0;
                                 if (!absl::SimpleAtoi(text, &number) || number < kind.low || number > kind.high)
                                   return bad;
                                 config.*kind.member = number;
                                 return absl::OkStatus();
                               },
                               [&](const SwitchKey& kind) {
                                 if (text != "true" && text != "false") return bad;
                                 config.*kind.member = text == "true";
                                 return absl::OkStatus();
                               },
                               [&](const ChoiceKey& kind) {
                                 const auto at = std::find(kind.words.begin(), kind.words.end(), text);
                                 if (at == kind.words.end()) return bad;
                                 kind.set(config, static_cast<size_t>(at - kind.words.begin()));
                                 return absl::OkStatus();
                               },
                               [&](const ListKey&) { return bad; }},
                    key.kind);
}

}  // namespace kata::virtcontainers
