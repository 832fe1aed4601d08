// SPDX-License-Identifier: Apache-2.0
// What a pod can say of its machine. Each test of an advisory names the way in that it closes.
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "virtcontainers/config/config.h"
#include "virtcontainers/config/kata_keys.h"
#include "virtcontainers/config/keys.h"

namespace kata::virtcontainers {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kMemory[] = "io.katacontainers.config.hypervisor.default_memory";
constexpr char kKernel[] = "io.katacontainers.config.hypervisor.kernel";

std::string Whole(const std::string& name) { return kAnnotationPrefix + name; }

// Of a pod with one annotation, whose name the operator has written into enable_annotations.
absl::Status ApplyEnabled(Config& config, const std::string& name, const std::string& value) {
  config.file = "/f";
  config.enable_annotations.push_back(name);
  return ApplyAnnotations(config, {{name, value}});
}

TEST(ConfigAnnotations, DeniedUnlessTheWholeNameIsEnabled) {
  Config config;
  config.file = "/f";
  config.enable_annotations = {"io.katacontainers.config.hypervisor.default", "memory", "default_mem", ".*",
                               "hypervisor.default_memory"};
  const absl::Status status = ApplyAnnotations(config, {{kMemory, "1024"}});
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_EQ(status.message(), std::string("annotation \"") + kMemory +
                                  "\": not enabled; an operator can add it to \"enable_annotations\" of "
                                  "configuration \"/f\"");
  EXPECT_EQ(config.default_memory, 512u);
}

TEST(ConfigAnnotations, KatasShortNamesMeanExactlyOne) {
  Config config;
  config.enable_annotations = {"default_memory"};
  EXPECT_TRUE(ApplyAnnotations(config, {{kMemory, "1024"}}).ok());
  EXPECT_EQ(config.default_memory, 1024u);
  EXPECT_TRUE(absl::IsPermissionDenied(ApplyAnnotations(config, {{Whole("hypervisor.default_maxmemory"), "1"}})));
  config.enable_annotations = {"create_container_timeout"};  // of another table: only by its whole name
  EXPECT_TRUE(absl::IsPermissionDenied(ApplyAnnotations(config, {{Whole("runtime.create_container_timeout"), "9"}})));
}

TEST(ConfigAnnotations, AnEnabledOneIsCheckedAsItsKey) {
  Config config;
  config.enable_annotations = {kMemory};
  EXPECT_TRUE(ApplyAnnotations(config, {{kMemory, "1024"}, {"io.kubernetes.x", "y"}}).ok());
  EXPECT_EQ(config.default_memory, 1024u);
  EXPECT_EQ(ApplyAnnotations(config, {{kMemory, "1"}}).message(),
            std::string("annotation \"") + kMemory + "\": a whole number from 64 to 1048576 is needed");
}

TEST(ConfigAnnotations, AllThatIsWrongIsToldAtOnce) {
  Config config;
  const absl::Status status = ApplyAnnotations(config, {{kMemory, "1024"}, {Whole("hypervisor.enable_iommu"), "true"}});
  EXPECT_THAT(std::string(status.message()), HasSubstr("default_memory\": not enabled"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("enable_iommu\": a machine has no IOMMU"));
}

TEST(ConfigAnnotations, WhatCannotBeEnabledIsSaidToTheOperator) {
  EXPECT_TRUE(CheckAnnotationName(kMemory).ok());
  EXPECT_TRUE(CheckAnnotationName("kernel").ok());
  EXPECT_EQ(CheckAnnotationName("enable_iommu").message(),
            "\"enable_iommu\" cannot be enabled: a machine has no IOMMU");
  EXPECT_THAT(std::string(CheckAnnotationName("block_device_aio").message()),
              HasSubstr("the operator alone says it, by block_device_aio in [hypervisor.qemu]"));
  for (const char* entry : {".*", "default_.*", "", "enable_", "hypervisor.default_memory"})
    EXPECT_THAT(std::string(CheckAnnotationName(entry).message()), HasSubstr("there is no such annotation")) << entry;
}

// Every annotation that Kata knows has an answer of its own.
TEST(ConfigAnnotations, KatasAreAllKnown) {
  std::vector<std::string> names = {"config_path",
                                    "asset_hash_type",
                                    "enable_vcpus_pinning",
                                    "container.resource.swappiness",
                                    "container.resource.swap_in_bytes",
                                    "pkg.oci.bundle_path",
                                    "pkg.oci.container_type"};
  for (const char* name : {"path",
                           "jailer_path",
                           "virtio_fs_daemon",
                           "vhost_user_store_path",
                           "entropy_source",
                           "kernel",
                           "image",
                           "initrd",
                           "firmware",
                           "firmware_volume",
                           "kernel_hash",
                           "image_hash",
                           "initrd_hash",
                           "hypervisor_hash",
                           "path_hash",
                           "jailer_hash",
                           "firmware_hash",
                           "firmware_volume_hash",
                           "asset_hash_type",
                           "kernel_params",
                           "kernel_verity_params",
                           "machine_type",
                           "machine_accelerators",
                           "cpu_features",
                           "default_vcpus",
                           "default_max_vcpus",
                           "default_memory",
                           "memory_slots",
                           "memory_offset",
                           "enable_virtio_mem",
                           "enable_mem_prealloc",
                           "reclaim_guest_freed_memory",
                           "enable_hugepages",
                           "hugepage_type",
                           "enable_iommu",
                           "enable_iommu_platform",
                           "numa_mapping",
                           "shared_fs",
                           "virtio_fs_cache",
                           "virtio_fs_cache_size",
                           "virtio_fs_extra_args",
                           "msize_9p",
                           "block_device_driver",
                           "block_device_aio",
                           "disable_block_device_use",
                           "enable_iothreads",
                           "indep_iothreads",
                           "block_device_cache_set",
                           "block_device_cache_direct",
                           "block_device_cache_noflush",
                           "blk_logical_sector_size",
                           "blk_physical_sector_size",
                           "block_device_num_queues",
                           "block_device_queue_size",
                           "disable_vhost_net",
                           "rx_rate_limiter_max_rate",
                           "tx_rate_limiter_max_rate",
                           "network_queues",
                           "enable_vhost_user_store",
                           "vhost_user_reconnect_timeout_sec",
                           "disable_image_nvdimm",
                           "cold_plug_vfio",
                           "hot_plug_vfio",
                           "pcie_root_port",
                           "pcie_switch_port",
                           "enable_guest_swap",
                           "guest_hook_path",
                           "use_legacy_serial",
                           "rootless",
                           "default_gpus",
                           "default_gpu_model",
                           "cc_init_data",
                           "prefetch_files.list",
                           "file_mem_backend",
                           "guest_memory_dump_path",
                           "enable_swap"})
    names.push_back(std::string("config.hypervisor.") + name);
  for (const char* name : {"disable_guest_seccomp", "guest_selinux_label", "sandbox_cgroup_only", "enable_pprof",
                           "experimental", "internetworking_model", "disable_new_netns", "vfio_mode",
                           "create_container_timeout", "experimental_force_guest_pull", "enable_vcpus_pinning", "name",
                           "hypervisor_name", "agent_name", "shared_mounts", "sandbox_bind_mounts"})
    names.push_back(std::string("config.runtime.") + name);
  for (const char* name :
       {"kernel_modules", "enable_tracing", "container_pipe_size", "cdh_api_timeout", "cdh_api_timeout_ms", "policy"})
    names.push_back(std::string("config.agent.") + name);
  for (const std::string& name : names) {
    Config config;
    const absl::Status status = ApplyAnnotations(config, {{kAnnotationFamily + name, "1"}});
    EXPECT_FALSE(status.ok()) << name;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("no such annotation"))) << name;
    EXPECT_GT(status.message().size(), name.size() + 40) << status;
  }
}

// CVE-2020-27151: annotations chose any program of the host, which ran as root.
TEST(ConfigAnnotations, APathMustBeListedByTheOperator) {
  for (const ConfigKey& key : ConfigKeys()) {
    const auto* text = std::get_if<TextKey>(&key.kind);
    if (key.annotation.empty() || text == nullptr) continue;
    ASSERT_NE(text->allowed, nullptr) << key.name << " can be any text";
    Config config;
    const std::string name = Whole(key.annotation);
    const absl::Status denied = ApplyEnabled(config, name, "/usr/bin/good");
    EXPECT_TRUE(absl::IsPermissionDenied(denied)) << key.name << ": " << denied;
    EXPECT_THAT(std::string(denied.message()),
                HasSubstr("path \"/usr/bin/good\" is not allowed; an operator can add it"));
    config.*text->allowed = {"/usr/bin/good", "/opt/*/bin/qemu-*"};
    EXPECT_TRUE(ApplyAnnotations(config, {{name, "/usr/bin/good"}}).ok()) << key.name;
    EXPECT_EQ(config.*text->member, "/usr/bin/good");
    EXPECT_TRUE(ApplyAnnotations(config, {{name, "/opt/kata/bin/qemu-6"}}).ok()) << key.name;
    for (const char* value :
         {"/usr/bin/good2", "/usr/bin", "usr/bin/good", "", "/bin/sh", "/usr/bin/good/../../../bin/sh",
          "/opt/a/b/bin/qemu-6", "/opt/../bin/qemu-6", "/opt/kata/bin/qemu-6/../sh", "/usr/bin/good\n"})
      EXPECT_TRUE(absl::IsPermissionDenied(ApplyAnnotations(config, {{name, value}}))) << key.name << " " << value;
    EXPECT_EQ(config.*text->member, "/opt/kata/bin/qemu-6");
  }
}

// The same: the list for one kind of file is not that for another.
TEST(ConfigAnnotations, AnEmulatorIsNotChosenByTheListOfKernels) {
  Config config;
  config.valid_guest_paths = {"/usr/bin/*"};
  EXPECT_TRUE(ApplyEnabled(config, kKernel, "/usr/bin/vmlinux").ok());
  EXPECT_TRUE(absl::IsPermissionDenied(ApplyEnabled(config, Whole("hypervisor.path"), "/usr/bin/qemu")));
  EXPECT_TRUE(absl::IsPermissionDenied(ApplyEnabled(config, Whole("hypervisor.virtio_fs_daemon"), "/usr/bin/d")));
}

TEST(ConfigAnnotations, AListOfPathsMayNameTheInstallation) {
  auto body = LoadConfig("/there/is/no/installation", KATA_CONFIGURATION_TOML,
                         "[hypervisor.qemu]\nvalid_guest_paths = [\"@PREFIX@/share/*\"]\n"
                         "enable_annotations = [\"kernel\"]\n");
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_TRUE(ApplyAnnotations(*body, {{kKernel, "/there/is/no/installation/share/vmlinux"}}).ok());
}

// enable_annotations as patterns without ends: "path" let jailer_path in, "kernel" kernel_params.
TEST(ConfigAnnotations, ANameEnablesNoLongerOne) {
  Config config;
  config.enable_annotations = {"path", "kernel", "io.katacontainers.config.hypervisor.kernel"};
  for (const char* name : {"hypervisor.jailer_path", "hypervisor.kernel_params", "hypervisor.kernel_hash",
                           "hypervisor.guest_hook_path", "runtime.path", "agent.kernel_modules"})
    EXPECT_FALSE(ApplyAnnotations(config, {{Whole(name), "/x"}}).ok()) << name;
}

// GHSA-rr59-xxvx-96qr: virtio_fs_extra_args and kernel_params of a pod; "-o source=/" gave it the host's files.
TEST(ConfigAnnotations, NoWordOfACommandLineIsAPods) {
  for (const char* name : {"hypervisor.virtio_fs_extra_args", "hypervisor.kernel_params", "hypervisor.cpu_features",
                           "hypervisor.machine_accelerators", "hypervisor.machine_type",
                           "hypervisor.kernel_verity_params", "agent.kernel_modules"}) {
    Config config;
    const absl::Status status = ApplyEnabled(config, Whole(name), "-o source=/");
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << name << ": " << status;
    EXPECT_FALSE(CheckAnnotationName(Whole(name)).ok()) << name;
    EXPECT_TRUE(config.kernel_params.empty() && config.virtio_fs_extra_args.empty() && config.machine_type == "q35");
  }
  for (const ConfigKey& key : ConfigKeys()) {
    if (std::holds_alternative<ListKey>(key.kind)) EXPECT_EQ(key.annotation, "") << key.name;
  }
}

// The annotation config_path chose any configuration file of the host, and with it any program.
TEST(ConfigAnnotations, NoPodChoosesItsConfiguration) {
  for (const char* name : {"io.katacontainers.config_path", "io.katacontainers.config.runtime.config_path"}) {
    Config config;
    EXPECT_TRUE(absl::IsInvalidArgument(ApplyEnabled(config, name, "/tmp/mine.toml"))) << name;
    EXPECT_FALSE(CheckAnnotationName(name).ok()) << name;
    EXPECT_EQ(config.file, "/f");
  }
}

// sandbox_bind_mounts of a pod showed it any path of the host; shared_sockets would.
TEST(ConfigAnnotations, NoPodListsPathsOfTheHost) {
  for (const char* name : {"runtime.sandbox_bind_mounts", "runtime.shared_sockets", "hypervisor.enable_annotations",
                           "hypervisor.valid_hypervisor_paths", "hypervisor.valid_guest_paths",
                           "hypervisor.valid_virtio_fs_daemon_paths", "hypervisor.vhost_user_store_path"}) {
    Config config;
    EXPECT_TRUE(absl::IsInvalidArgument(ApplyEnabled(config, Whole(name), "/"))) << name;
    EXPECT_FALSE(CheckAnnotationName(Whole(name)).ok()) << name;
    EXPECT_TRUE(config.shared_sockets.empty() && config.valid_guest_paths.empty());
  }
}

// runtime.* and agent.* were never asked about.
TEST(ConfigAnnotations, TheRuntimesAndTheAgentsAreDeniedToo) {
  Config config;
  EXPECT_TRUE(
      absl::IsPermissionDenied(ApplyAnnotations(config, {{Whole("runtime.create_container_timeout"), "3600"}})));
  EXPECT_EQ(config.create_container_timeout, 60u);
}

TEST(ConfigAnnotations, NoneChoosesHowADiskOrAShareIsServed) {
  for (const ConfigKey& key : ConfigKeys()) {
    if (key.name == "virtio_fs_cache" || key.name == "virtio_fs_daemon") continue;
    if (key.name.rfind("block_device_", 0) == 0 || key.name.rfind("virtio_fs_", 0) == 0)
      EXPECT_EQ(key.annotation, "") << key.name;
  }
}

}  // namespace
}  // namespace kata::virtcontainers
