// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/config/kata_keys.h"

#include <algorithm>
#include <iterator>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

namespace kata::virtcontainers {
namespace {

constexpr char kQemu[] = "hypervisor.qemu";
constexpr char kRuntime[] = "runtime";
constexpr char kAgent[] = "agent.kata";
constexpr char kMemAgent[] = "agent.kata.mem_agent";
constexpr char kFactory[] = "factory";

constexpr const char* kOtherHypervisors[] = {
    "hypervisor.clh",  "hypervisor.cloud-hypervisor", "hypervisor.firecracker", "hypervisor.dragonball",
    "hypervisor.acrn", "hypervisor.stratovirt",       "hypervisor.openvmm",     "hypervisor.remote"};

constexpr char kAny[] = "*";
constexpr char kNone[] = "";
constexpr char kEmptyList[] = "[]";

constexpr char kNoImage[] =
    "the guest boots from an initramfs, which has the agent: take it out, and name another one by initrd";
constexpr char kOfImage[] = "said of image, which there is not here";
constexpr char kNoConfidential[] = "machines are no confidential guests";
constexpr char kOfConfidential[] = "said of confidential guests, which there are not here";
constexpr char kNoVfio[] = "devices of the host's PCI are not given to machines";
constexpr char kNoNuma[] = "a machine has one memory node; use the kubelet's managers of processors and memory";
constexpr char kNoVhostUser[] = "disks are block devices and files of the host: use a raw volume of Kubernetes";
constexpr char kOfVhostUser[] = "said of enable_vhost_user_store, which there is not here";
constexpr char kNoIommu[] = "a machine has no IOMMU";
constexpr char kNoDax[] = "files are not mapped into the guest: use virtio_fs_cache";
constexpr char kNoSwap[] = "a guest has no swap of its own: give the pod the memory that it needs";
constexpr char kOfSwap[] = "said of enable_guest_swap, which there is not here";
constexpr char kNoRate[] =
    "traffic is bounded on the host: use the bandwidth plugin of CNI, which the pod's interface is bounded with";
constexpr char kNoDiskRate[] = "no key bounds a disk: bound the pod's cgroup on the host (io.max)";
constexpr char kNoTracing[] = "there are no traces: use enable_debug of [runtime]";
constexpr char kOfTracing[] = "said of enable_tracing, which there is not here";
constexpr char kNoSelinux[] = "the guest's kernel has no SELinux; the machine is the boundary";
constexpr char kOwnUser[] = "each machine has an unprivileged user of its own already";
constexpr char kNoPull[] = "images are pulled on the host by containerd";
constexpr char kNoJail[] = "there is no jailer: each machine has a user, a seccomp filter and a cgroup of its own";
constexpr char kOfTemplate[] = "a file of its own says what a template is; it is found by enable_template";
constexpr char kOfCache[] = "said of vm_cache_number, which there is not here";
constexpr char kNoCache[] = "there are no machines in stock: use enable_template, with which one starts as fast";
constexpr char kOfMemAgent[] = "said of mem_agent_enable, which there is not here";
constexpr char kLevels[] = "there are two levels: use enable_debug of [runtime]";
constexpr char kDialTimeout[] = "use dial_timeout, in seconds, from the machine's start to the agent's answer";
constexpr char kShares[] = "volumes of one pod are shared by naming them in each container";
constexpr char kNoPassfd[] = "a process's output has a connection of its own already";

std::vector<AbsentKey> MakeQemuKeys() {
  return {
      {kQemu, "image", {kNone}, kNoImage},
      {kQemu, "rootfs_type", {kAny}, kOfImage},
      {kQemu, "vm_rootfs_driver", {kAny}, kOfImage},
      {kQemu, "disable_image_nvdimm", {kAny}, kOfImage},
      {kQemu, "kernel_verity_params", {kNone}, kNoImage},
      {kQemu, "guest_extension_images", {kEmptyList}, kNoImage},
      {kQemu, "firmware_volume", {kNone}, "firmware is one image, which is only read: use one that needs no variables"},
      {kQemu, "pflashes", {kEmptyList}, "use firmware, with one image"},
      {kQemu, "machine_accelerators", {kNone}, "options of the machine are the runtime's own: take it out"},
      {kQemu, "cpu_features", {kNone, "pmu=off"}, "the guest has the processor of the host as it is: take it out"},
      {kQemu,
       "seccompsandbox",
       {kNone, "on,obsolete=deny,spawn=deny,resourcecontrol=deny"},
       "QEMU's filter is always on, with all that it can deny"},
      {kQemu,
       "seccomp_sandbox",
       {kNone, "on,obsolete=deny,spawn=deny,resourcecontrol=deny"},
       "QEMU's filter is always on, with all that it can deny"},
      {kQemu, "rootless", {kAny}, kOwnUser},
      {kQemu,
       "overhead_vcpus",
       {"0", "0.2"},
       "a machine has the processors that its pod's limits need, rounded up: use default_vcpus"},
      {kQemu, "default_bridges", {"0", "1"}, "devices are plugged into root ports: use pcie_root_port"},
      {kQemu, "memory_slots", {kAny}, "memory grows in steps, of which any number can be made"},
      {kQemu, "memory_offset", {"0"}, "there is no NVDIMM that would need it: take it out"},
      {kQemu, "enable_virtio_mem", {kAny}, "memory always comes and goes by virtio-mem"},
      {kQemu, "enable_mem_prealloc", {"false"}, "a machine's memory is the host's once the guest uses it"},
      {kQemu,
       "enable_hugepages",
       {"false"},
       "whether huge pages of the host are behind a machine is the host's to say (transparent huge pages); a container "
       "gets huge pages of the guest by its limits (hugepageLimits)"},
      {kQemu, "hugepage_type", {kAny}, "said of enable_hugepages, which there is not here"},
      {kQemu, "reclaim_guest_freed_memory", {kAny}, "memory that the guest has freed always goes back to the host"},
      {kQemu, "file_mem_backend", {kNone}, "a machine's memory is shared as virtiofsd needs it: take it out"},
      {kQemu, "valid_file_mem_backends", {kAny}, "there is no such annotation"},
      {kQemu, "virtio_fs_cache_size", {"0"}, kNoDax},
      {kQemu, "virtio_fs_is_dax", {"false"}, kNoDax},
      {kQemu,
       "virtio_fs_inode_file_handles",
       {"prefer"},
       "virtiofsd uses handles where it may open too few files: take it out"},
      {kQemu, "msize_9p", {"8192"}, "a 9p share has the size that is fastest: take it out"},
      {kQemu, "block_device_logical_sector_size", {"0"}, "the guest sees the sectors that the disk has"},
      {kQemu, "block_device_physical_sector_size", {"0"}, "the guest sees the sectors that the disk has"},
      {kQemu, "queue_size", {"128"}, "a disk's queue has QEMU's size: take it out"},
      {kQemu, "num_queues", {"1"}, "a disk has a queue for each processor: take it out"},
      {kQemu, "network_queues", {"1"}, "a card has a queue for each processor: take it out"},
      {kQemu, "enable_vhost_user_store", {"false"}, kNoVhostUser},
      {kQemu, "vhost_user_store_path", {kAny}, kOfVhostUser},
      {kQemu, "valid_vhost_user_store_paths", {kAny}, kOfVhostUser},
      {kQemu, "vhost_user_reconnect_timeout_sec", {kAny}, kOfVhostUser},
      {kQemu, "enable_iommu", {"false"}, kNoIommu},
      {kQemu, "enable_iommu_platform", {"false"}, kNoIommu},
      {kQemu, "enable_numa", {"false"}, kNoNuma},
      {kQemu, "numa_mapping", {kEmptyList}, kNoNuma},
      {kQemu, "hypervisor_loglevel", {"0", "1"}, kLevels},
      {kQemu, "log_level", {"info"}, kLevels},
      {kQemu, "extra_monitor_socket", {kNone}, "who has a machine's monitor owns the machine: there is no second one"},
      {kQemu, "disable_nesting_checks", {kAny}, "nothing is done otherwise on a host that is a machine itself"},
      {kQemu, "hot_plug_vfio", {"no-port"}, kNoVfio},
      {kQemu, "cold_plug_vfio", {"no-port"}, kNoVfio},
      {kQemu, "hotplug_vfio_on_root_bus", {"false"}, kNoVfio},
      {kQemu, "pcie_switch_port", {"0"}, "use pcie_root_port"},
      {kQemu,
       "entropy_source",
       {kNone, "/dev/urandom", "/dev/random"},
       "the guest's randomness comes from /dev/urandom, which has all that others have once the host has booted"},
      {kQemu, "valid_entropy_sources", {kAny}, "there is no such annotation"},
      {kQemu,
       "guest_hook_path",
       {kNone},
       "the guest has no files of its own: use hooks of the container's config.json"},
      {kQemu, "rx_rate_limiter_max_rate", {"0"}, kNoRate},
      {kQemu, "tx_rate_limiter_max_rate", {"0"}, kNoRate},
      {kQemu, "net_rate_limiter_bw_max_rate", {"0"}, kNoRate},
      {kQemu, "net_rate_limiter_bw_one_time_burst", {"0"}, kNoRate},
      {kQemu, "net_rate_limiter_ops_max_rate", {"0"}, kNoRate},
      {kQemu, "net_rate_limiter_ops_one_time_burst", {"0"}, kNoRate},
      {kQemu, "disk_rate_limiter_bw_max_rate", {"0"}, kNoDiskRate},
      {kQemu, "disk_rate_limiter_bw_one_time_burst", {"0"}, kNoDiskRate},
      {kQemu, "disk_rate_limiter_ops_max_rate", {"0"}, kNoDiskRate},
      {kQemu, "disk_rate_limiter_ops_one_time_burst", {"0"}, kNoDiskRate},
      {kQemu,
       "guest_memory_dump_path",
       {kNone},
       "a guest that panics leaves the last lines of its console in the error and the log, not its memory"},
      {kQemu, "guest_memory_dump_paging", {kAny}, "said of guest_memory_dump_path, which there is not here"},
      {kQemu, "enable_guest_swap", {"false"}, kNoSwap},
      {kQemu, "enable_swap", {"false"}, kNoSwap},
      {kQemu, "guest_swap_path", {kAny}, kOfSwap},
      {kQemu, "guest_swap_size_percent", {kAny}, kOfSwap},
      {kQemu, "guest_swap_create_threshold_secs", {kAny}, kOfSwap},
      {kQemu, "use_legacy_serial", {kAny}, "the guest's console is a serial port always"},
      {kQemu, "use_vsock", {kAny}, "use agent_transport, which chooses by itself"},
      {kQemu,
       "disable_selinux",
       {kAny},
       "no process of a machine gets a label: the policy of the host labels the programs, or not"},
      {kQemu, "disable_guest_selinux", {"true"}, kNoSelinux},
      {kQemu, "selinux_label", {kNone}, kNoSelinux},
      {kQemu, "confidential_guest", {"false"}, kNoConfidential},
      {kQemu, "sev_snp_guest", {"false"}, kNoConfidential},
      {kQemu, "snp_id_block", {kNone}, kOfConfidential},
      {kQemu, "snp_id_auth", {kNone}, kOfConfidential},
      {kQemu, "snp_guest_policy", {kAny}, kOfConfidential},
      {kQemu, "tdx_quote_generation_service_socket_port", {kAny}, kOfConfidential},
      {kQemu, "measurement_algo", {kAny}, kOfConfidential},
      {kQemu, "initdata", {kNone}, kNoConfidential},
      {kQemu, "prefetch_list_path", {kNone}, kNoPull},
      {kQemu, "ctlpath", {kNone}, "said of a hypervisor that there is not here: take it out"},
      {kQemu, "valid_ctlpaths", {kAny}, "said of a hypervisor that there is not here"},
      {kQemu, "boot_to_be_template", {"false"}, kOfTemplate},
      {kQemu, "boot_from_template", {"false"}, kOfTemplate},
      {kQemu, "memory_path", {kNone}, kOfTemplate},
      {kQemu, "device_state_path", {kNone}, kOfTemplate},
      {kQemu, "jailer_path", {kNone}, kNoJail},
      {kQemu, "valid_jailer_paths", {kAny}, kNoJail},
      {kQemu, "disable_seccomp", {"false"}, "QEMU's filter is always on"},
      {kQemu,
       "disable_nested_virtualization",
       {"false"},
       "the guest has the processor of the host as it is: switch it off in the host's kernel (kvm_intel nested=0)"},
  };
}

std::vector<AbsentKey> MakeOtherKeys() {
  std::vector<AbsentKey> keys = {
      {kFactory, "vm_cache_number", {"0"}, kNoCache},
      {kFactory, "vm_cache_endpoint", {kAny}, kOfCache},
      {kAgent, "log_level", {"info"}, kLevels},
      {kAgent, "enable_tracing", {"false"}, kNoTracing},
      {kAgent,
       "kernel_modules",
       {kEmptyList},
       "the guest's kernel has no modules: what it needs is built in (docs/guest-kernel.md)"},
      {kAgent,
       "debug_console_enabled",
       {"false"},
       "there is no shell in the guest outside of containers: use kubectl exec or ctr task exec"},
      {kAgent, "dial_timeout_ms", {"10"}, kDialTimeout},
      {kAgent, "reconnect_timeout_ms", {"3000"}, kDialTimeout},
      {kAgent,
       "request_timeout_ms",
       {kAny},
       "each request has a time of its own, that of Create create_container_timeout"},
      {kAgent, "health_check_request_timeout_ms", {kAny}, "each request has a time of its own"},
      {kAgent, "cdh_api_timeout", {kAny}, kOfConfidential},
      {kAgent, "cdh_api_timeout_ms", {kAny}, kOfConfidential},
      {kAgent, "launch_process_timeout", {kAny}, kOfConfidential},
      {kAgent, "visible_cdi_devices", {"false"}, kNoVfio},
      {kAgent, "server_port", {"1024"}, "the agent's ports are the runtime's own: take it out"},
      {kAgent, "log_port", {"1025"}, "the agent's ports are the runtime's own: take it out"},
      {kAgent, "passfd_listener_port", {kAny}, kNoPassfd},
      {kAgent, "container_pipe_size", {"0"}, "pipes of a process have the size of the guest's kernel: take it out"},
      {kAgent, "policy", {kNone}, "the agent takes the requests of its own host alone, by a token"},
      {kRuntime, "name", {"virt_container"}, "this runtime makes virtual machines: take it out"},
      {kRuntime, "hypervisor_name", {"qemu"}, "machines are QEMU's, through libvirt: take it out"},
      {kRuntime, "agent_name", {"kata"}, "there is one agent: take it out"},
      {kRuntime, "log_level", {"info"}, kLevels},
      {kRuntime,
       "disable_guest_seccomp",
       {"false"},
       "a container's seccomp profile counts in the guest: take it out, and the profile from the containers that must "
       "not have one"},
      {kRuntime, "enable_vcpus_pinning", {"false"}, "processors of a machine are the host's scheduler's to place"},
      {kRuntime, "guest_selinux_label", {kNone}, kNoSelinux},
      {kRuntime, "enable_tracing", {"false"}, kNoTracing},
      {kRuntime, "jaeger_endpoint", {kAny}, kOfTracing},
      {kRuntime, "jaeger_user", {kAny}, kOfTracing},
      {kRuntime, "jaeger_password", {kAny}, kOfTracing},
      {kRuntime,
       "disable_new_netns",
       {"false"},
       "a pod has the network namespace that its caller has made: use internetworking_model"},
      {kRuntime,
       "static_sandbox_resource_mgmt",
       {kAny},
       "a machine has its pod's size before it boots, and grows when a container needs more"},
      {kRuntime, "sandbox_bind_mounts", {kEmptyList}, "the guest has no services to read them: use a volume"},
      {kRuntime, "vfio_mode", {"guest-kernel"}, kNoVfio},
      {kRuntime, "disable_guest_empty_dir", {kAny}, "an emptyDir is on the host, one with medium: Memory in the guest"},
      {kRuntime, "emptydir_mode", {"shared-fs"}, "an emptyDir is on the host: use a volume of a block device"},
      {kRuntime, "experimental", {kEmptyList}, "there are no features on trial: take it out"},
      {kRuntime, "experimental_force_guest_pull", {"false"}, kNoPull},
      {kRuntime, "enable_pprof", {"false"}, "there is no profiler in the shim: use perf"},
      {kRuntime,
       "dan_conf",
       {kNone, "/run/kata-containers/dans"},
       "a pod's interfaces are those of its network namespace, and files about others are not read"},
      {kRuntime, "kubelet_root_dir", {kAny}, "volumes of the kubelet's are known by their kind, wherever it has them"},
      {kRuntime, "pod_resource_api_sock", {kNone}, kNoVfio},
      {kRuntime, "keep_abnormal", {"false"}, "what has failed is taken away; its error has what was known"},
      {kRuntime, "shared_mounts", {kEmptyList}, kShares},
      {kRuntime, "use_passfd_io", {"false"}, kNoPassfd},
      {kRuntime, "passfd_listener_port", {kAny}, kNoPassfd},
      {"image", "service_offload", {"false"}, kNoPull},
      {kMemAgent, "mem_agent_enable", {"false"}, "memory that the guest has freed goes back to the host by itself"},
  };
  for (const char* name :
       {"memcg_disable", "memcg_swap", "memcg_swappiness_max", "memcg_period_secs", "memcg_period_psi_percent_limit",
        "memcg_eviction_psi_percent_limit", "memcg_eviction_run_aging_count_min", "compact_disable",
        "compact_period_secs", "compact_period_psi_percent_limit", "compact_psi_percent_limit", "compact_sec_max",
        "compact_order", "compact_threshold", "compact_force_times"})
    keys.push_back({kMemAgent, name, {kAny}, kOfMemAgent});
  return keys;
}

}  // namespace

bool AbsentKey::Accepts(const std::string& value) const {
  return std::any_of(accepted.begin(), accepted.end(),
                     [&value](const std::string& one) { return one == kAny || one == value; });
}

const std::vector<AbsentKey>& AbsentKeys() {
  static const std::vector<AbsentKey>& keys = *[] {
    auto* all = new std::vector<AbsentKey>(MakeQemuKeys());
    std::vector<AbsentKey> more = MakeOtherKeys();
    std::move(more.begin(), more.end(), std::back_inserter(*all));
    return all;
  }();
  return keys;
}

std::string FullName(const AbsentKey& key) { return absl::StrCat(key.table, ".", key.name); }

const AbsentKey* FindAbsentKey(const std::string& full_name) {
  const AbsentKey* found = nullptr;
  for (const AbsentKey& key : AbsentKeys()) {
    if (FullName(key) == full_name) return &key;
    if (key.name == full_name && found == nullptr) found = &key;
  }
  return found;
}

std::string AcceptedValues(const AbsentKey& key) {
  if (key.Accepts(kAny)) return "any, which changes nothing";
  const auto quote = [](std::string* out, const std::string& value) { absl::StrAppend(out, "`", value, "`"); };
  std::vector<std::string> shown = key.accepted;
  for (std::string& value : shown) {
    if (value.empty()) value = "\"\"";
  }
  return absl::StrCat(absl::StrJoin(shown, ", ", quote), ", which changes nothing; any other is an error");
}

std::string WhyNoTable(const std::string& table) {
  if (table == "hypervisor.qemu.rootless_user") return kOwnUser;
  if (std::find(std::begin(kOtherHypervisors), std::end(kOtherHypervisors), table) != std::end(kOtherHypervisors))
    return "machines are QEMU's, through libvirt: take it out, what it says belongs into [hypervisor.qemu]";
  if (table == "proxy" || table == "shim") return "there is no such process: take it out";
  if (table == "netmon") return "changes of a pod's network are always followed: take it out";
  return "";
}

std::string NameHere(const std::string& full_name) {
  constexpr char kNestedFactory[] = "hypervisor.qemu.factory.";
  if (full_name == "agent.kata.create_container_timeout") return "runtime.create_container_timeout";
  if (absl::StartsWith(full_name, kNestedFactory))
    return absl::StrCat("factory.", full_name.substr(sizeof(kNestedFactory) - 1));
  return full_name;
}

const std::vector<AbsentAnnotation>& AbsentAnnotations() {
  constexpr char kHash[] =
      "a file is not compared with a sum of the pod's: the operator says which files there are (valid_guest_paths, "
      "valid_hypervisor_paths)";
  constexpr char kNoGpu[] = "said of a hypervisor that there is not here";
  constexpr char kOwnWord[] = "a runtime's own word, which no pod can say";
  static const std::vector<AbsentAnnotation>& annotations = *new std::vector<AbsentAnnotation>{
      {"config_path", "",
       "no pod can choose its configuration: the operator gives a runtime class one of its own (ConfigPath of "
       "containerd's runtime options)"},
      {"asset_hash_type", "", kHash},
      {"config.hypervisor.asset_hash_type", "", kHash},
      {"config.hypervisor.hypervisor_hash", "", kHash},
      {"config.hypervisor.path_hash", "", kHash},
      {"config.hypervisor.kernel_hash", "", kHash},
      {"config.hypervisor.image_hash", "", kHash},
      {"config.hypervisor.initrd_hash", "", kHash},
      {"config.hypervisor.firmware_hash", "", kHash},
      {"config.hypervisor.firmware_volume_hash", "", kHash},
      {"config.hypervisor.jailer_hash", "", kHash},
      {"config.hypervisor.blk_logical_sector_size", "hypervisor.qemu.block_device_logical_sector_size", ""},
      {"config.hypervisor.blk_physical_sector_size", "hypervisor.qemu.block_device_physical_sector_size", ""},
      {"config.hypervisor.block_device_num_queues", "hypervisor.qemu.num_queues", ""},
      {"config.hypervisor.block_device_queue_size", "hypervisor.qemu.queue_size", ""},
      {"config.hypervisor.default_gpus", "", kNoGpu},
      {"config.hypervisor.default_gpu_model", "", kNoGpu},
      {"config.hypervisor.cc_init_data", "hypervisor.qemu.initdata", ""},
      {"config.hypervisor.prefetch_files.list", "hypervisor.qemu.prefetch_list_path", ""},
      {"enable_vcpus_pinning", "runtime.enable_vcpus_pinning", ""},
      {"container.resource.swappiness", "hypervisor.qemu.enable_guest_swap", ""},
      {"container.resource.swap_in_bytes", "hypervisor.qemu.enable_guest_swap", ""},
      {"pkg.oci.bundle_path", "", kOwnWord},
      {"pkg.oci.container_type", "", kOwnWord},
  };
  return annotations;
}

}  // namespace kata::virtcontainers
