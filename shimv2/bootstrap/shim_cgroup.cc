// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/shim_cgroup.h"

#include <dirent.h>

#include <algorithm>
#include <memory>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"

namespace kata::shimv2 {
namespace {

constexpr size_t kHierarchiesMax = 64;

// `root` itself and the directories in it, of which each may be a hierarchy.
std::vector<std::string> Hierarchies(const std::string& root) {
  std::vector<std::string> out = {root};
  std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(root.c_str()), ::closedir);
  if (entries == nullptr) return out;
  while (const dirent* entry = ::readdir(entries.get())) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || out.size() >= kHierarchiesMax) continue;
    out.push_back(absl::StrCat(root, "/", entry->d_name));
  }
  return out;
}

}  // namespace

absl::Status JoinShimCgroup(const std::string& root, const std::string& path, pid_t pid) {
  const std::string what = absl::StrCat("moving the shim into cgroup \"", path, "\" (ShimCgroup)");
  const std::vector<std::string> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
  if (parts.empty() || std::find(parts.begin(), parts.end(), "..") != parts.end())
    return absl::InvalidArgumentError(what + ": it names no cgroup");
  size_t joined = 0;
  for (const std::string& hierarchy : Hierarchies(root)) {
    absl::Status status = WriteExisting(absl::StrCat(hierarchy, "/", path, "/cgroup.procs"), std::to_string(pid));
    if (absl::IsNotFound(status)) continue;
    if (!status.ok()) return Annotate(status, what);
    ++joined;
    if (hierarchy == root) break;  // version 2, whose directories are no hierarchies
  }
  if (joined == 0) return absl::NotFoundError(what + ": there is none of that name");
  return absl::OkStatus();
}

}  // namespace kata::shimv2
