// SPDX-License-Identifier: Apache-2.0
#include "agent/oci/user_namespace.h"

#include <grp.h>
#include <unistd.h>

#include <cerrno>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "agent/base/errors.h"
#include "proto/base/fd.h"

namespace kata::agent {
namespace {

constexpr size_t kDelegateSizeMax = 1u << 16;

std::string MapText(const IdMappings& mappings) {
  std::string out;
  for (const IdMapping& item : mappings) absl::StrAppend(&out, item.container, " ", item.host, " ", item.size, "\n");
  return out;
}

}  // namespace

std::optional<uint32_t> MapId(const IdMappings& mappings, uint32_t id) {
  for (const IdMapping& item : mappings) {
    if (id >= item.container && id - item.container < item.size) return item.host + (id - item.container);
  }
  return std::nullopt;
}

absl::Status CheckMappings(const IdMappings& mappings, const char* field) {
  if (mappings.size() > kIdMappingsMax)
    return absl::InvalidArgumentError(absl::StrCat(field, ": more than ", kIdMappingsMax));
  for (const IdMapping& item : mappings) {
    const bool overflows =
        item.size == 0 || item.size - 1 > UINT32_MAX - item.host || item.size - 1 > UINT32_MAX - item.container;
    if (overflows) return absl::InvalidArgumentError(absl::StrCat(field, ": size ", item.size, " is not possible"));
  }
  if (!MapId(mappings, 0))
    return absl::InvalidArgumentError(absl::StrCat(field, ": the container's id 0 is not mapped"));
  return absl::OkStatus();
}

absl::Status WriteMappings(pid_t pid, const IdMappings& uids, const IdMappings& gids) {
  absl::Status status = WriteExisting(absl::StrCat("/proc/", pid, "/uid_map"), MapText(uids));
  if (!status.ok()) return absl::InvalidArgumentError(absl::StrCat("linux.uidMappings: ", status.message()));
  status = WriteExisting(absl::StrCat("/proc/", pid, "/gid_map"), MapText(gids));
  if (!status.ok()) return absl::InvalidArgumentError(absl::StrCat("linux.gidMappings: ", status.message()));
  return absl::OkStatus();
}

absl::Status BecomeNamespaceRoot() {
  if (::setgroups(0, nullptr) != 0 || ::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0)
    return SystemError(errno, "becoming root of the user namespace");
  return absl::OkStatus();
}

absl::Status DelegateCgroup(const std::string& path, uid_t uid, gid_t gid) {
  auto list = ReadFile("/sys/kernel/cgroup/delegate", kDelegateSizeMax);
  if (!list.ok()) return list.status();
  std::vector<std::string> files = absl::StrSplit(*list, '\n', absl::SkipEmpty());
  files.emplace_back(".");
  for (const std::string& file : files) {
    if (::chown(absl::StrCat(path, "/", file).c_str(), uid, gid) != 0 && errno != ENOENT)
      return SystemError(errno, absl::StrCat("giving cgroup file \"", file, "\" to the container's root"));
  }
  return absl::OkStatus();
}

}  // namespace kata::agent
