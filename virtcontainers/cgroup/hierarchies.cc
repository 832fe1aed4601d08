// SPDX-License-Identifier: Apache-2.0
#include "virtcontainers/cgroup/hierarchies.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

namespace kata::virtcontainers {
namespace {

constexpr size_t kHierarchiesMax = 64;
constexpr char kOfVersion2[] = "/cgroup.controllers";
constexpr char kNamed[] = "name=";

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace

std::vector<CgroupHierarchy> FindHierarchies(const std::string& root) {
  if (Exists(root + kOfVersion2)) return {{.directory = root, .is_version2 = true}};
  std::vector<CgroupHierarchy> out;
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(root.c_str()), ::closedir);
  if (entries == nullptr) return out;
  while (const dirent* entry = ::readdir(entries.get())) {
    // A link is another name of a hierarchy that is there as well: cpu for cpu,cpuacct.
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || out.size() >= kHierarchiesMax) continue;
    const std::string directory = absl::StrCat(root, "/", entry->d_name);
    if (!Exists(directory + "/cgroup.procs")) continue;
    out.push_back({.directory = directory, .is_version2 = Exists(directory + kOfVersion2)});
  }
  return out;
}

absl::StatusOr<std::string> CheckCgroupPath(const std::string& path) {
  const std::vector<std::string> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
  if (parts.empty()) return absl::InvalidArgumentError("it names no cgroup");
  if (std::find(parts.begin(), parts.end(), "..") != parts.end() ||
      std::find(parts.begin(), parts.end(), ".") != parts.end() || path.find('\0') != std::string::npos)
    return absl::InvalidArgumentError("\".\" and \"..\" are not allowed in it");
  return absl::StrJoin(parts, "/");
}

std::string FindOwnCgroup(const std::string& text, const CgroupHierarchy& hierarchy) {
  const std::string name = hierarchy.directory.substr(hierarchy.directory.rfind('/') + 1);
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const bool is_it = hierarchy.is_version2 ? fields[0] == "0" && fields[1].empty()
                                             : fields[1] == name || fields[1] == absl::StrCat(kNamed, name);
    if (!is_it) continue;
    // One outside of this process's cgroup namespace has no name here.
    auto path = CheckCgroupPath(fields[2]);
    return path.ok() ? *path : "";
  }
  return "";
}

}  // namespace kata::virtcontainers
