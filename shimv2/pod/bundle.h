// SPDX-License-Identifier: Apache-2.0
// What the shim itself reads from a bundle's config.json. Reads a file: for `start`, `delete` and the pool only.
#pragma once

#include <map>
#include <memory>
#include <string>

#include <absl/status/statusor.h>

#include "virtcontainers/oci/document.h"

namespace kata::shimv2 {

struct BundleInfo {
  std::shared_ptr<const virtcontainers::OciDocument> document;  // null: there is none
  std::string sandbox_id;      // the pod's; the container's own id when it is alone or is the sandbox
  std::string group;           // all containers with the same one share a shim
  bool is_sandbox = false;     // its caller's sandbox container, of a pod
  bool joins_sandbox = false;  // a further container of a pod: its sandbox's shim must be there
  bool may_join = false;       // joins the shim of its group when there is one, else makes it
  std::string hostname;        // the spec's
  std::string netns_path;      // empty: none given, or a new one is asked for
  std::string cgroup_path;     // linux.cgroupsPath, as it stands
  std::string rootfs_path;     // root.path, as it stands
  std::map<std::string, std::string>
      config_annotations;     // those of the configuration, virtcontainers' kAnnotationFamily
  std::string pod_name;       // as people know it; empty: it has none
  std::string pod_namespace;  // of Kubernetes
};

// Of a bundle without a document: that of a sandbox by itself.
BundleInfo BundleOfSandbox(const std::string& sandbox_id);
// An error names the file and what is wrong in it; NotFound when there is no document.
absl::StatusOr<BundleInfo> ReadBundle(const std::string& bundle, const std::string& container_id);
absl::StatusOr<BundleInfo> DescribeBundle(std::shared_ptr<const virtcontainers::OciDocument> document,
                                          const std::string& container_id);

}  // namespace kata::shimv2
