// SPDX-License-Identifier: Apache-2.0
// What the host gives a pod: network, cgroups, room.
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "proto/base/status.h"
#include "tools/kata-ctl/check/finding.h"
#include "virtcontainers/cgroup/hierarchies.h"
#include "virtcontainers/network/network_trial.h"
#include "virtcontainers/sandbox/sandbox_cgroup.h"

namespace kata::ctl {
namespace {

using virtcontainers::Config;
using virtcontainers::NetworkModel;

constexpr uint64_t kMiB = 1u << 20;
constexpr uint64_t kRunMib = 64;
constexpr uint64_t kTemplatesMib = 1024;

Finding CheckRoomAt(const std::string& what, const std::string& path, uint64_t mib) {
  // The nearest directory that is there.
  std::filesystem::path at = path;
  std::error_code error;
  while (!std::filesystem::exists(at, error) && at.has_relative_path()) at = at.parent_path();
  struct statvfs info {};
  if (::statvfs(at.c_str(), &info) != 0)
    return {what, Level::kWarning,
            std::string(ErrnoStatus(errno, absl::StrCat("looking at \"", at.string(), "\"")).message()), ""};
  const uint64_t there = uint64_t{info.f_bavail} * info.f_frsize / kMiB;
  const std::string text = absl::StrCat(there, " MiB are free at ", path);
  if (there >= mib) return {what, Level::kGood, text, ""};
  return {what, Level::kWarning, absl::StrCat(text, ", less than ", mib, " MiB"),
          absl::StrCat("make room at ", at.string())};
}

}  // namespace

Finding CheckNetwork(const Config& config) {
  if (config.internetworking_model == NetworkModel::kNone)
    return {"network", Level::kNote, "pods have none: internetworking_model is \"none\"", ""};
  const bool has_filters = config.internetworking_model == NetworkModel::kTcFilter;
  const absl::Status status = virtcontainers::TryNetwork(config.internetworking_model);
  if (status.ok())
    return {"network", Level::kGood,
            has_filters ? "a tap and a filter that redirects could be made" : "a tap could be made", ""};
  return {"network", Level::kError, std::string(status.message()),
          has_filters ? "modprobe tun cls_u32 act_mirred sch_ingress, or set internetworking_model = \"macvtap\""
                      : "modprobe tun macvtap"};
}

Finding CheckCgroups(const Config& config) {
  const auto hierarchies = virtcontainers::FindHierarchies(virtcontainers::kCgroupRoot);
  std::vector<std::string> shown;
  for (const auto& one : hierarchies)
    shown.push_back(absl::StrCat(one.directory, one.is_version2 ? " (version 2)" : ""));
  if (hierarchies.empty())
    return {"cgroups", Level::kError, absl::StrCat("none are mounted below ", virtcontainers::kCgroupRoot),
            "mount -t cgroup2 none /sys/fs/cgroup"};
  for (const auto& one : hierarchies) {
    if (::access(one.directory.c_str(), W_OK) != 0)
      return {"cgroups", Level::kError,
              std::string(ErrnoStatus(errno, absl::StrCat("writing to \"", one.directory, "\"")).message()),
              "run as root, where cgroups are not mounted read-only"};
  }
  if (const absl::Status status = virtcontainers::CheckCgroupsFor(config.sandbox_cgroup_only); !status.ok())
    return {"cgroups", Level::kError, std::string(status.message()), ""};
  return {"cgroups", Level::kGood, absl::StrJoin(shown, ", "), ""};
}

Findings CheckRoom(const Config& config) {
  Findings findings = {CheckRoomAt("room for pods", "/run/kata-containers", kRunMib)};
  if (config.enable_template)
    findings.push_back(CheckRoomAt("room for templates", config.template_path, kTemplatesMib));
  return findings;
}

}  // namespace kata::ctl
