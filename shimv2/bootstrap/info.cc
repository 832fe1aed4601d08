// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/info.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "proto/base/mount_options.h"
#include "proto/base/status.h"
#include "proto/base/version.h"
#include "proto/schema/runtime_options.pb.h"
#include "shimv2/pod/runtime_options.h"

namespace kata::shimv2 {
namespace {

// The OCI features document: what the agent can do for a container.
std::string FeaturesJson() {
  const nlohmann::json features = {
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", "1.1.0"},
      {"mountOptions", MountOptionWords()},
      {"linux",
       {{"namespaces", {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}},
        {"cgroup", {{"v1", false}, {"v2", true}, {"systemd", false}, {"systemdUser", false}}},
        {"seccomp", {{"enabled", true}}},
        {"apparmor", {{"enabled", false}}},
        {"selinux", {{"enabled", false}}},
        {"mountExtensions", {{"idmap", {{"enabled", true}}}}}}},
  };
  return features.dump();
}

}  // namespace

std::string VersionText() { return "containerd-shim-kata-v2 " + BuildText() + "\n"; }

std::string HelpText() {
  return VersionText() + R"(
Runs the containers of one pod in a virtual machine of its own. containerd, CRI-O and Docker start it, once for each pod;
people name it as the runtime of a container:
  ctr run --rm --runtime io.containerd.kata.v2 IMAGE ID COMMAND
  docker run --rm --runtime io.containerd.kata.v2 IMAGE COMMAND
Kubernetes: runtime_type = "io.containerd.kata.v2" for a handler in containerd's configuration, and a RuntimeClass of that
handler. containerd must find this program in its PATH.

How containerd calls it:
  containerd-shim-kata-v2 -namespace NAME -id ID [-address SOCKET] [-publish-binary PATH] [-debug] start
  containerd-shim-kata-v2 -namespace NAME -id ID [-address SOCKET] -bundle DIRECTORY delete
  containerd-shim-kata-v2 -v | -info | -help
)";
}

absl::StatusOr<std::string> RuntimeInfoBytes(const std::string& input) {
  wire::Any options;
  if (!options.ParseFromString(input)) {
    return absl::InvalidArgumentError("reading the options on standard input: they are not a google.protobuf.Any");
  }
  options = Unwrapped(std::move(options));
  RETURN_IF_ERROR(ParseRuntimeOptions(options).status());
  runtimeoptions::v1::RuntimeInfo info;
  info.set_name(kRuntimeName);
  info.mutable_version()->set_version(kBuildVersion);
  info.mutable_version()->set_revision(kBuildCommit);
  if (IsRuntimeOptions(options)) *info.mutable_options() = std::move(options);
  info.mutable_features()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/features/Features");
  info.mutable_features()->set_value(FeaturesJson());
  return info.SerializeAsString();
}

}  // namespace kata::shimv2
