// SPDX-License-Identifier: Apache-2.0
// What a pod's sandbox is to be, whoever asks for it. Value type.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "proto/schema/wire.pb.h"
#include "shimv2/pod/bundle.h"
#include "virtcontainers/sandbox.h"

namespace kata::shimv2 {

struct PodDescription {
  std::string sandbox_id;
  std::string pod_name;       // as people know it; empty: it has none
  std::string pod_namespace;  // of Kubernetes
  std::string netns_path;     // empty: a new one for the machine
  std::string cgroup_path;    // on the host, as linux.cgroupsPath; empty: one of its own at the top
  std::string hostname;       // the guest's; empty: the host's
  std::map<std::string, std::string> config_annotations;  // those of the configuration
  virtcontainers::PodSize size;                           // without limits: the configuration's
  bool must_exist = false;                                // asked for by one that only joins it
  std::optional<virtcontainers::PodSettings> settings;
  wire::Any runtime_options;  // the caller's; of no type: those of `start`
};

// What a container shows that has the host's name by its document (Docker's --uts host), or a uts namespace and no
// name: as with runc, that of the host. One with a name of its own sets it in its own namespace.
std::string HostName();

// As the pod's first container says it.
PodDescription DescribePod(const BundleInfo& info, wire::Any runtime_options);

}  // namespace kata::shimv2
