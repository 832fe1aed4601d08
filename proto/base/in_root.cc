// SPDX-License-Identifier: Apache-2.0
#include "proto/base/in_root.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "proto/base/status.h"

namespace kata {
namespace {

absl::Status MakeOne(int root_fd, const std::string& parent, const std::string& name, bool is_directory) {
  ASSIGN_OR_RETURN(const UniqueFd dir, OpenInRoot(root_fd, parent, O_PATH | O_DIRECTORY));
  const int made =
      is_directory ? ::mkdirat(dir.get(), name.c_str(), 0755) : ::mknodat(dir.get(), name.c_str(), S_IFREG | 0644, 0);
  if (made == 0 || errno == EEXIST) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("creating \"", parent, "/", name, "\""));
}

}  // namespace

absl::StatusOr<UniqueFd> OpenInRoot(int root_fd, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const std::string name = path.empty() ? "/" : path;
  const long fd = ::syscall(SYS_openat2, root_fd, name.c_str(), &how, sizeof(how));
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("opening \"", path, "\" in the root"));
  return UniqueFd(static_cast<int>(fd));
}

absl::StatusOr<UniqueFd> MakeInRoot(int root_fd, const std::string& path, bool is_directory) {
  auto found = OpenInRoot(root_fd, path, O_PATH);
  if (found.ok() || !absl::IsNotFound(found.status())) return found;
  const std::vector<std::string> parts = absl::StrSplit(path, '/', absl::SkipEmpty());
  if (parts.size() > kPathComponentsMax)
    return absl::InvalidArgumentError(absl::StrCat("making \"", path, "\" in the root: too deep"));
  std::string parent;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string here = absl::StrCat(parent, "/", parts[i]);
    if (absl::IsNotFound(OpenInRoot(root_fd, here, O_PATH).status())) {
      RETURN_IF_ERROR(MakeOne(root_fd, parent, parts[i], is_directory || i + 1 < parts.size()));
    }
    parent = here;
  }
  return OpenInRoot(root_fd, path, O_PATH);
}

}  // namespace kata
