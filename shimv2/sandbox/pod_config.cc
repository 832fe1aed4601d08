// SPDX-License-Identifier: Apache-2.0
#include "shimv2/sandbox/pod_config.h"

#include <set>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "shimv2/pod/runtime_options.h"
#include "shimv2/pod/type_url.h"
#include "virtcontainers/config/config.h"

namespace kata::shimv2 {
namespace {

template <typename Annotations>
void AddConfigAnnotations(const Annotations& annotations, PodDescription& out) {
  for (const auto& [name, value] : annotations) {
    if (absl::StartsWith(name, virtcontainers::kAnnotationFamily)) out.config_annotations[name] = value;
  }
}

// As a caller names the cgroup of a sandbox container.
std::string CgroupPath(const std::string& parent, const std::string& sandbox_id) {
  if (parent.empty()) return "";
  if (!absl::EndsWith(parent, ".slice")) return absl::StrCat(parent, "/", sandbox_id);
  return absl::StrCat(parent.substr(parent.rfind('/') + 1), ":kata:", sandbox_id);
}

std::set<std::string> HostNamespacesOf(const runtime::v1::PodSandboxConfig& config) {
  const runtime::v1::NamespaceOption& options = config.linux_config().security_context().namespace_options();
  std::set<std::string> out;
  if (options.network() == runtime::v1::NODE) out.insert("network");
  if (options.pid() == runtime::v1::NODE) out.insert("pid");
  if (options.ipc() == runtime::v1::NODE) out.insert("ipc");
  return out;
}

template <typename Mappings>
std::vector<virtcontainers::IdMapping> MappingsOf(const Mappings& mappings) {
  std::vector<virtcontainers::IdMapping> out;
  for (const runtime::v1::IdMapping& item : mappings)
    out.push_back({.container = item.container_id(), .host = item.host_id(), .size = item.length()});
  return out;
}

void AddOwnNamespaces(const runtime::v1::NamespaceOption& options, virtcontainers::PodSettings& out) {
  // What CRI means by no word about them, too: containers whose document names the pod's pids, see each other's.
  out.shares_pids = options.pid() == runtime::v1::POD;
  if (!options.has_userns_options() || options.userns_options().mode() != runtime::v1::POD) return;
  out.uid_mappings = MappingsOf(options.userns_options().uids());
  out.gid_mappings = MappingsOf(options.userns_options().gids());
}

}  // namespace

absl::StatusOr<runtime::v1::PodSandboxConfig> ParsePodConfig(const wire::Any& options) {
  runtime::v1::PodSandboxConfig config;
  if (!HasType(options, "runtime.v1.PodSandboxConfig")) return config;
  if (!config.ParseFromString(options.value()))
    return absl::InvalidArgumentError("reading the options: they are not a runtime.v1.PodSandboxConfig message");
  return config;
}

PodDescription DescribePod(PodDescription base, const containerd::runtime::sandbox::v1::CreateSandboxRequest& request,
                           const runtime::v1::PodSandboxConfig& config, const std::string& etc_directory) {
  PodDescription out = std::move(base);
  out.sandbox_id = request.sandbox_id();
  out.pod_name = config.metadata().name();
  out.pod_namespace = config.metadata().namespace_();
  if (!request.netns_path().empty()) out.netns_path = request.netns_path();
  const std::string cgroup_path = CgroupPath(config.linux_config().cgroup_parent(), request.sandbox_id());
  if (!cgroup_path.empty()) out.cgroup_path = cgroup_path;
  if (!config.hostname().empty()) out.hostname = config.hostname();
  AddConfigAnnotations(config.annotations(), out);
  AddConfigAnnotations(request.annotations(), out);
  if (config.linux_config().has_resources()) {
    const runtime::v1::ContainerResources& resources = config.linux_config().resources();
    out.size =
        virtcontainers::PodSizeOf(resources.memory_limit_in_bytes(), resources.cpu_quota(), resources.cpu_period());
  }
  out.must_exist = false;
  virtcontainers::PodSettings settings;
  settings.sysctls.insert(config.linux_config().sysctls().begin(), config.linux_config().sysctls().end());
  settings.etc_directory = etc_directory;
  settings.host_namespaces = HostNamespacesOf(config);
  AddOwnNamespaces(config.linux_config().security_context().namespace_options(), settings);
  out.settings = std::move(settings);
  if (IsRuntimeOptions(request.options())) out.runtime_options = request.options();
  return out;
}

}  // namespace kata::shimv2
