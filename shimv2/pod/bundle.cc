// SPDX-License-Identifier: Apache-2.0
#include "shimv2/pod/bundle.h"

#include <absl/strings/match.h>
#include <nlohmann/json.hpp>

#include "proto/base/fd.h"
#include "proto/base/sha256.h"
#include "proto/base/status.h"
#include "virtcontainers/config/config.h"
#include "virtcontainers/json/members.h"

namespace kata::shimv2 {
namespace {

using Json = nlohmann::json;
using virtcontainers::MemberOf;
using virtcontainers::TextOf;

struct PodKeys {
  const char* type;
  const char* sandbox_id;
  const char* name;
  const char* name_space;
};
// containerd's CRI plugin and CRI-O name the same two facts differently.
constexpr PodKeys kPodKeys[] = {
    {"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id", "io.kubernetes.cri.sandbox-name",
     "io.kubernetes.cri.sandbox-namespace"},
    {"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID", "io.kubernetes.pod.name",
     "io.kubernetes.pod.namespace"},
};

// The stock shim's own way to put containers together, without a pod.
constexpr char kGroupKey[] = "io.containerd.runc.v2.group";
constexpr size_t kGroupDigestSize = 32;

void ReadPodName(const Json& annotations, BundleInfo& info) {
  for (const PodKeys& keys : kPodKeys) {
    if (info.pod_name.empty()) info.pod_name = TextOf(annotations, keys.name);
    if (info.pod_namespace.empty()) info.pod_namespace = TextOf(annotations, keys.name_space);
  }
}

absl::Status ReadGroup(const Json& annotations, const std::string& container_id, BundleInfo& info) {
  info.sandbox_id = container_id;
  info.group = container_id;
  for (const PodKeys& keys : kPodKeys) {
    const std::string type = TextOf(annotations, keys.type);
    info.is_sandbox = type == "sandbox";
    if (info.is_sandbox) return absl::OkStatus();
    if (type != "container") continue;
    info.sandbox_id = TextOf(annotations, keys.sandbox_id);
    if (info.sandbox_id.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("annotation \"", keys.type, "\" says it is of a pod, \"",
                                                     keys.sandbox_id, "\" does not say of which"));
    }
    info.group = info.sandbox_id;
    info.joins_sandbox = info.sandbox_id != container_id;
    return absl::OkStatus();
  }
  const std::string group = TextOf(annotations, kGroupKey);
  if (group.empty()) return absl::OkStatus();
  // Any container of the group may be the last of it, so the machine is named for the group, whatever its letters.
  info.group = group;
  info.sandbox_id = absl::StrCat("group-", Sha256Hex(group).substr(0, kGroupDigestSize));
  info.may_join = true;
  return absl::OkStatus();
}

}  // namespace

BundleInfo BundleOfSandbox(const std::string& sandbox_id) {
  BundleInfo info;
  info.sandbox_id = sandbox_id;
  info.group = sandbox_id;
  return info;
}

absl::StatusOr<BundleInfo> DescribeBundle(std::shared_ptr<const virtcontainers::OciDocument> document,
                                          const std::string& container_id) {
  const Json& spec = document->json();
  BundleInfo info;
  info.document = document;
  info.hostname = TextOf(spec, "hostname");
  info.rootfs_path = TextOf(MemberOf(spec, "root"), "path");
  const Json& annotations = MemberOf(spec, "annotations");
  RETURN_IF_ERROR(ReadGroup(annotations, container_id, info));
  ReadPodName(annotations, info);
  if (annotations.is_object()) {
    for (const auto& [name, value] : annotations.items()) {
      if (absl::StartsWith(name, virtcontainers::kAnnotationFamily) && value.is_string())
        info.config_annotations[name] = value.get<std::string>();
    }
  }
  info.cgroup_path = TextOf(MemberOf(spec, "linux"), "cgroupsPath");
  const Json& namespaces = MemberOf(MemberOf(spec, "linux"), "namespaces");
  if (namespaces.is_array()) {
    for (const Json& entry : namespaces) {
      if (TextOf(entry, "type") == "network") info.netns_path = TextOf(entry, "path");
    }
  }
  return info;
}

absl::StatusOr<BundleInfo> ReadBundle(const std::string& bundle, const std::string& container_id) {
  ASSIGN_OR_RETURN(auto document, virtcontainers::OciDocument::Read(bundle));
  auto info = DescribeBundle(std::move(document), container_id);
  if (!info.ok()) return Annotate(info.status(), absl::StrCat("reading \"", bundle, "/config.json\""));
  return info;
}

}  // namespace kata::shimv2
