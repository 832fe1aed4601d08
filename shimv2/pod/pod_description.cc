// SPDX-License-Identifier: Apache-2.0
#include "shimv2/pod/pod_description.h"

#include <limits.h>
#include <unistd.h>

#include <utility>

namespace kata::shimv2 {

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return ::gethostname(name, HOST_NAME_MAX) == 0 ? name : "";
}

PodDescription DescribePod(const BundleInfo& info, wire::Any runtime_options) {
  PodDescription out;
  out.sandbox_id = info.sandbox_id;
  out.pod_name = info.pod_name;
  out.pod_namespace = info.pod_namespace;
  out.netns_path = info.netns_path;
  out.cgroup_path = info.cgroup_path;
  out.config_annotations = info.config_annotations;
  // Of a group nobody knows what else joins it.
  if (!info.may_join && info.document != nullptr) out.size = virtcontainers::ReadPodSize(info.document->json());
  out.must_exist = info.joins_sandbox;
  out.runtime_options = std::move(runtime_options);
  return out;
}

}  // namespace kata::shimv2
