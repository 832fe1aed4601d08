// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/devices/direct_volume.h"

#include <sys/mount.h>

#include <algorithm>
#include <climits>
#include <utility>
#include <vector>

#include <absl/strings/escaping.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "proto/base/fd.h"
#include "proto/base/mount_options.h"
#include "proto/base/status.h"
#include "virtcontainers/json/members.h"

namespace kata::virtcontainers {
namespace {

using Json = nlohmann::json;

constexpr size_t kInfoSizeMax = 64u << 10;
constexpr const char* kKinds[] = {"block", "directvol"};
constexpr char kAlways[] = "Always";
constexpr char kOnRootMismatch[] = "OnRootMismatch";

// With the padding that absl leaves out.
std::string NameOf(const std::string& path) {
  std::string name = absl::WebSafeBase64Escape(path);
  name.append((4 - name.size() % 4) % 4, '=');
  return name;
}

absl::StatusOr<std::optional<FsGroup>> FsGroupOf(const Json& metadata) {
  const std::string number = TextOf(metadata, "fsGroup");
  if (number.empty()) return std::nullopt;
  FsGroup group;
  if (!absl::SimpleAtoi(number, &group.gid))
    return absl::InvalidArgumentError(absl::StrCat("metadata.fsGroup \"", number, "\" is no group id"));
  const std::string policy = TextOf(metadata, "fsGroupChangePolicy");
  if (!policy.empty() && policy != kAlways && policy != kOnRootMismatch) {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata.fsGroupChangePolicy \"", policy, "\": neither ", kAlways, " nor ", kOnRootMismatch));
  }
  group.is_always = policy != kOnRootMismatch;
  return group;
}

absl::StatusOr<ContainerDisk> ParseInfo(const std::string& text, const std::string& mount_point) {
  const Json info = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!info.is_object()) return absl::InvalidArgumentError("it is no JSON object");
  const std::string kind = TextOf(info, "volume-type");
  if (std::find(std::begin(kKinds), std::end(kKinds), kind) == std::end(kKinds)) {
    return absl::UnimplementedError(
        absl::StrCat("volume-type \"", kind, "\" is not supported: \"block\" and \"directvol\" are"));
  }
  ContainerDisk disk;
  disk.source = TextOf(info, "device");
  if (!absl::StartsWith(disk.source, "/"))
    return absl::InvalidArgumentError(absl::StrCat("device \"", disk.source, "\" is no absolute path"));
  MountedDisk mounted;
  mounted.type = TextOf(info, "fstype");
  if (mounted.type.empty()) return absl::InvalidArgumentError("it has no fstype");
  mounted.options = TextsOf(info, "options");
  mounted.mount_point = mount_point;
  auto group = FsGroupOf(MemberOf(info, "metadata"));
  if (!group.ok()) return group.status();
  mounted.fs_group = *group;
  const bool is_read_only = (ParseMountOptions(mounted.options).flags & MS_RDONLY) != 0;
  ASSIGN_OR_RETURN(disk.file, OpenDiskFile(disk.source, is_read_only));
  disk.use = std::move(mounted);
  return disk;
}

}  // namespace

absl::StatusOr<std::optional<ContainerDisk>> FindDirectVolume(const std::string& path, const std::string& mount_point,
                                                              const std::string& volumes) {
  const std::string name = NameOf(path);
  if (name.size() > NAME_MAX) return std::nullopt;  // nobody can have said anything of it
  const std::string file = absl::StrCat(volumes, "/", name, "/mountInfo.json");
  auto text = ReadFile(file, kInfoSizeMax);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  const std::string what = absl::StrCat("direct volume \"", path, "\" (\"", file, "\")");
  if (!text.ok()) return Annotate(text.status(), what);
  auto disk = ParseInfo(*text, mount_point);
  if (!disk.ok()) return Annotate(disk.status(), what);
  return *std::move(disk);
}

}  // namespace kata::virtcontainers
