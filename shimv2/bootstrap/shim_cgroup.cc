// SPDX-License-Identifier: Apache-2.0
#include "shimv2/bootstrap/shim_cgroup.h"

#include <absl/strings/str_cat.h>

#include "proto/base/fd.h"
#include "proto/base/status.h"
#include "virtcontainers/cgroup/hierarchies.h"

namespace kata::shimv2 {

absl::Status JoinShimCgroup(const std::string& root, const std::string& path, pid_t pid) {
  const std::string what = absl::StrCat("moving the shim into cgroup \"", path, "\" (ShimCgroup)");
  auto checked = virtcontainers::CheckCgroupPath(path);
  if (!checked.ok()) return Annotate(checked.status(), what);
  size_t joined = 0;
  for (const virtcontainers::CgroupHierarchy& hierarchy : virtcontainers::FindHierarchies(root)) {
    const std::string file = absl::StrCat(hierarchy.directory, "/", *checked, "/cgroup.procs");
    absl::Status status = WriteExisting(file, std::to_string(pid));
    if (absl::IsNotFound(status)) continue;
    if (!status.ok()) return Annotate(status, what);
    ++joined;
  }
  if (joined == 0) return absl::NotFoundError(what + ": there is none of that name");
  return absl::OkStatus();
}

}  // namespace kata::shimv2
