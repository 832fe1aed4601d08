// SPDX-License-Identifier: Apache-2.0
#include "shimv2/info.h"

#include <nlohmann/json.hpp>

#include "proto/schema/runtime_options.pb.h"

namespace kata::shimv2 {
namespace {

// The OCI features document: what the agent can do for a container.
std::string FeaturesJson() {
  const nlohmann::json features = {
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", "1.1.0"},
      {"mountOptions", {"bind", "rbind", "ro", "rw", "nosuid", "nodev", "noexec", "private", "rprivate", "shared",
                        "rshared", "slave", "rslave", "relatime", "noatime", "strictatime"}},
      {"linux",
       {{"namespaces", {"cgroup", "ipc", "mount", "network", "pid", "uts"}},
        {"cgroup", {{"v1", false}, {"v2", true}, {"systemd", false}, {"systemdUser", false}}},
        {"seccomp", {{"enabled", true}}},
        {"apparmor", {{"enabled", false}}},
        {"selinux", {{"enabled", false}}},
        {"mountExtensions", {{"idmap", {{"enabled", false}}}}}}},
  };
  return features.dump();
}

}  // namespace

std::string VersionText() { return std::string("containerd-shim-kata-v2 ") + kVersion + "\n"; }

std::string RuntimeInfoBytes() {
  runtimeoptions::v1::RuntimeInfo info;
  info.set_name(kRuntimeName);
  info.mutable_version()->set_version(kVersion);
  info.mutable_features()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/features/Features");
  info.mutable_features()->set_value(FeaturesJson());
  return info.SerializeAsString();
}

}  // namespace kata::shimv2
